extension ModuleSkeleton {
    /// A module that passes on what it gets, on the unmodified SDK from npm.
    static func nodejs(_ name: String) -> ModuleSkeleton {
        func dockerfile(_ command: String) -> String {
            """
            ARG BASE_IMAGE=node:lts-slim
            FROM ${BASE_IMAGE}
            WORKDIR /app
            COPY package.json ./
            RUN npm install --omit=dev
            COPY app.js ./
            USER node
            CMD \(command)

            """
        }
        let program = """
            'use strict';

            const { Mqtt } = require('azure-iot-device-mqtt');
            const { ModuleClient } = require('azure-iot-device');

            async function main() {
              const client = await ModuleClient.fromEnvironment(Mqtt);
              client.on('inputMessage', (input, message) => {
                client.complete(message, () => {});
                if (input === 'input1') client.sendOutputEvent('output1', message, () => {});
              });
              await client.open();
              process.on('SIGTERM', () => client.close(() => process.exit(0)));
            }

            main().catch((error) => {
              console.error(error);
              process.exit(1);
            });

            """
        let package = """
            {
              "name": "\(name.lowercased())",
              "private": true,
              "main": "app.js",
              "dependencies": {
                "azure-iot-device": "^1.18.0",
                "azure-iot-device-mqtt": "^1.16.0"
              }
            }

            """
        return ModuleSkeleton(
            files: [
                ("module.json", description(name, language: "javascript")), ("app.js", program),
                ("package.json", package), (".dockerignore", ".git\nnode_modules\n"),
            ]
                + dockerfiles(
                    dockerfile(#"["node", "app.js"]"#),
                    debug: dockerfile(#"["node", "--inspect=0.0.0.0:9229", "app.js"]"#)),
            debugOptions: debugPort(9229))
    }
}
