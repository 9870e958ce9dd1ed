extension ModuleSkeleton {
    /// A module that passes on what it gets, on the unmodified SDK from PyPI.
    static func python(_ name: String) -> ModuleSkeleton {
        let plain = """
            ARG BASE_IMAGE=python:3-slim
            FROM ${BASE_IMAGE}
            WORKDIR /app
            COPY requirements.txt ./
            RUN pip install --no-cache-dir -r requirements.txt
            COPY . .
            CMD ["python3", "-u", "main.py"]

            """
        let debug = """
            ARG BASE_IMAGE=python:3-slim
            FROM ${BASE_IMAGE}
            WORKDIR /app
            COPY requirements.txt ./
            RUN pip install --no-cache-dir -r requirements.txt debugpy
            COPY . .
            CMD ["python3", "-u", "-m", "debugpy", "--listen", "0.0.0.0:5678", "main.py"]

            """
        let program = """
            \"""\(name): passes every message of its input "input1" on to its output "output1".\"""

            import asyncio
            import signal

            from azure.iot.device import Message
            from azure.iot.device.aio import IoTHubModuleClient


            async def main() -> None:
                client = IoTHubModuleClient.create_from_edge_environment()

                async def on_message(message: Message) -> None:
                    if message.input_name == "input1":
                        await client.send_message_to_output(message, "output1")

                async def on_desired(patch: dict) -> None:
                    print("desired properties:", patch)

                client.on_message_received = on_message
                client.on_twin_desired_properties_patch_received = on_desired
                await client.connect()

                stopped = asyncio.Event()
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
                await stopped.wait()
                await client.shutdown()


            if __name__ == "__main__":
                asyncio.run(main())

            """
        return ModuleSkeleton(
            files: [
                ("module.json", description(name, language: "python")), ("main.py", program),
                ("requirements.txt", "azure-iot-device~=2.14\n"), (".dockerignore", ".git\n__pycache__\n*.pyc\n"),
            ] + dockerfiles(plain, debug: debug), debugOptions: debugPort(5678))
    }
}
