import Foundation

/// A solution whose one module counts: each message says how far, and once it is acknowledged the module's log says so too.
struct CounterSolution {
    let folder: String
    let module: String

    /// Writes the solution into a new folder.
    init(in folder: String, module: String) throws {
        self.folder = folder
        self.module = module
        let source = "\(folder)/modules/\(module)"
        try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
        try write("MODULES_PATH=modules\n", to: folder + "/.env")
        try write(template, to: folder + "/deployment.template.json")
        try write(moduleFile, to: source + "/module.json")
        try write(
            "ARG BASE_IMAGE=python:3-slim\nFROM ${BASE_IMAGE}\nCOPY counter.py /counter.py\n"
                + "CMD [\"python3\", \"-u\", \"/counter.py\"]\n", to: source + "/Dockerfile")
        try write(program, to: source + "/counter.py")
    }

    private func write(_ text: String, to path: String) throws {
        try text.write(toFile: path, atomically: true, encoding: .utf8)
    }

    private var program: String {
        """
        import asyncio, json, time
        from azure.iot.device import Message
        from azure.iot.device.aio import IoTHubModuleClient

        async def main():
            client = IoTHubModuleClient.create_from_edge_environment()
            await client.connect()
            run, number = time.time_ns(), 0
            while True:
                number += 1
                message = Message(
                    json.dumps({"run": run, "number": number}), content_encoding="utf-8",
                    content_type="application/json")
                await client.send_message(message)
                print("acknowledged", run, number)
                await asyncio.sleep(0.05)

        asyncio.run(main())
        """
    }

    private var moduleFile: String {
        """
        {
          "$schema-version": "0.0.1",
          "image": {
            "repository": "${CONTAINER_REGISTRY_SERVER}/\(module.lowercased())",
            "tag": { "version": "${BUILD_BUILDID}", "platforms": { "amd64": "./Dockerfile" } },
            "buildOptions": ["--build-arg BASE_IMAGE=${BASE_IMAGE}"],
            "contextPath": "./"
          }
        }
        """
    }

    private var template: String {
        manifest(image: "${MODULES.\(module)}", extra: "")
    }

    /// A deployment of the module with the given image, and of further modules: `, "name": {…}`.
    func manifest(image: String, extra: String) -> String {
        """
        {
          "$schema-template": "1.0.0",
          "modulesContent": {
            "$edgeAgent": { "properties.desired": {
              "schemaVersion": "1.1",
              "runtime": { "type": "docker", "settings": { "minDockerVersion": "v1.25", "loggingOptions": "",
                "registryCredentials": { "registry": {
                  "username": "${CONTAINER_REGISTRY_USERNAME}", "password": "${CONTAINER_REGISTRY_PASSWORD}",
                  "address": "${CONTAINER_REGISTRY_SERVER}" } } } },
              "systemModules": {
                "edgeAgent": { "type": "docker", "settings": {
                  "image": "mcr.microsoft.com/azureiotedge-agent:1.5", "createOptions": "{}" } },
                "edgeHub": { "type": "docker", "status": "running", "restartPolicy": "always", "settings": {
                  "image": "mcr.microsoft.com/azureiotedge-hub:1.5", "createOptions": "{}" } } },
              "modules": {
                "\(module)": { "version": "1.0", "type": "docker", "status": "running", "restartPolicy": "always",
                  "settings": { "image": "\(image)", "createOptions": "{}" } }\(extra)
              }
            } },
            "$edgeHub": { "properties.desired": {
              "schemaVersion": "1.1", "routes": { "up": "FROM /messages/* INTO $upstream" },
              "storeAndForwardConfiguration": { "timeToLiveSecs": 7200 } } }
          }
        }
        """
    }
}
