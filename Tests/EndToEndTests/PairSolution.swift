import Foundation

/// A solution of two modules on the unmodified SDK: one sends and waits for the answer, round after round, the other answers.
struct PairSolution {
    let folder: String
    let prober: String
    let echo: String

    /// Writes the solution into a new folder; the module that answers comes through a WebSocket.
    init(in folder: String, prefix: String) throws {
        self.folder = folder
        prober = prefix + "Prober"
        echo = prefix + "Echo"
        let source = "\(folder)/modules/\(prefix)Pair"
        try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
        try write("MODULES_PATH=modules\n", to: folder + "/.env")
        try write(template(image: "${MODULES.\(prefix)Pair}"), to: folder + "/deployment.template.json")
        try write(moduleFile(repository: "\(prefix.lowercased())pair"), to: source + "/module.json")
        try write(
            "ARG BASE_IMAGE=python:3-slim\nFROM ${BASE_IMAGE}\nCOPY pair.py /pair.py\n"
                + "CMD [\"python3\", \"-u\", \"/pair.py\"]\n", to: source + "/Dockerfile")
        try write(Self.program, to: source + "/pair.py")
    }

    private func write(_ text: String, to path: String) throws {
        try text.write(toFile: path, atomically: true, encoding: .utf8)
    }

    private static let program = """
        import asyncio, json, os, threading, time
        from azure.iot.device import Message, MethodResponse
        from azure.iot.device.aio import IoTHubModuleClient

        role, peer = os.environ["ROLE"], os.environ["PEER"]

        # A connection that breaks while a WebSocket writes ends the thread that the SDK's client lives on, for good
        # (SSLEOFError in paho). Such a module ends too, and is started again.
        def give_up(failure):
            print("the client died:", repr(failure.exc_value))
            os._exit(1)

        threading.excepthook = give_up

        def message(body):
            return Message(body, content_encoding="utf-8", content_type="application/json")

        async def patiently(what, operation):
            while True:
                try:
                    return await operation()
                except Exception as error:
                    print("again", what, repr(error))
                    await asyncio.sleep(0.5)

        async def main():
            client = IoTHubModuleClient.create_from_edge_environment(websockets=os.environ["CARRIER"] == "websockets")
            # The SDK runs handlers on a loop of its own.
            loop, inbox = asyncio.get_running_loop(), asyncio.Queue()

            async def on_message(received):
                if role == "echo":
                    await patiently("echo", lambda: client.send_message_to_output(message(received.data), "back"))
                else:
                    loop.call_soon_threadsafe(inbox.put_nowait, received)

            async def on_method(request):
                answer = {"role": role, "got": request.payload}
                await client.send_method_response(MethodResponse.create_from_method_request(request, 201, answer))

            async def on_patch(patch):
                print("desired", json.dumps(patch, separators=(",", ":")))

            client.on_message_received = on_message
            client.on_method_request_received = on_method
            client.on_twin_desired_properties_patch_received = on_patch
            await patiently("connect", client.connect)
            print("connected", role)
            if role == "echo":
                await asyncio.Event().wait()
            twin = await patiently("twin", client.get_twin)
            print("twin", "$version" in twin["desired"], "$version" in twin["reported"])
            await patiently("report", lambda: client.patch_twin_reported_properties({"role": role}))
            call = {"methodName": "greet", "payload": {"n": 1}, "responseTimeoutInSeconds": 20,
                    "connectTimeoutInSeconds": 20}
            answer = await patiently("method", lambda: client.invoke_method(call, os.environ["IOTEDGE_DEVICEID"], peer))
            print("answer", json.dumps(answer, separators=(",", ":")))
            number = 0
            while True:
                number += 1
                # Every tenth is as large as a message may be.
                padding = "x" * (261000 if number % 10 == 0 else 20)
                body = json.dumps({"number": number, "padding": padding})
                # The SDK acknowledges a message before the module has seen it: one that comes as the connection
                # drops, or its answer, can be lost inside a client. Then it is sent again.
                answered = False
                while not answered:
                    await patiently("send", lambda: client.send_message_to_output(message(body), "out"))
                    try:
                        while not answered:
                            received = await asyncio.wait_for(inbox.get(), 10)
                            answered = received.data.decode() == body and received.input_name == "back"
                    except asyncio.TimeoutError:
                        print("again", number)
                print("round", number)
                if number % 10 == 0:
                    twin = await patiently("twin", client.get_twin)
                    print("colour", twin["desired"].get("colour"))
                await asyncio.sleep(0.02)

        asyncio.run(main())
        """

    private func moduleFile(repository: String) -> String {
        """
        {
          "$schema-version": "0.0.1",
          "image": {
            "repository": "${CONTAINER_REGISTRY_SERVER}/\(repository)",
            "tag": { "version": "${BUILD_BUILDID}", "platforms": { "amd64": "./Dockerfile" } },
            "buildOptions": ["--build-arg BASE_IMAGE=${BASE_IMAGE}"],
            "contextPath": "./"
          }
        }
        """
    }

    private func module(_ name: String, role: String, peer: String, carrier: String, image: String) -> String {
        """
        "\(name)": { "version": "1.0", "type": "docker", "status": "running", "restartPolicy": "always",
          "env": { "ROLE": { "value": "\(role)" }, "PEER": { "value": "\(peer)" },
            "CARRIER": { "value": "\(carrier)" } },
          "settings": { "image": "\(image)", "createOptions": "{}" } }
        """
    }

    private func template(image: String) -> String {
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
                \(module(prober, role: "prober", peer: echo, carrier: "mqtt", image: image)),
                \(module(echo, role: "echo", peer: prober, carrier: "websockets", image: image))
              }
            } },
            "$edgeHub": { "properties.desired": {
              "schemaVersion": "1.1",
              "routes": {
                "there": {
                  "route": "FROM /messages/modules/\(prober)/outputs/out INTO BrokeredEndpoint(\\"/modules/\(echo)/inputs/in\\")",
                  "priority": 1, "timeToLiveSecs": 600 },
                "back": "FROM /messages/modules/\(echo)/outputs/back INTO BrokeredEndpoint(\\"/modules/\(prober)/inputs/back\\")",
                "up": "FROM /messages/modules/\(prober)/outputs/out INTO $upstream"
              },
              "storeAndForwardConfiguration": { "timeToLiveSecs": 7200 } } }
          }
        }
        """
    }
}
