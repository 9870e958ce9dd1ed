import JSONDocument

extension ModuleSkeleton {
    /// A module that passes on what it gets, on the unmodified SDK from NuGet.
    static func csharp(_ name: String) -> ModuleSkeleton {
        func dockerfile(_ configuration: String) -> String {
            """
            ARG SDK_IMAGE=mcr.microsoft.com/dotnet/sdk:8.0
            ARG BASE_IMAGE=mcr.microsoft.com/dotnet/runtime:8.0
            FROM ${SDK_IMAGE} AS build
            WORKDIR /source
            COPY *.csproj ./
            RUN dotnet restore
            COPY . ./
            RUN dotnet publish -c \(configuration) -o /out

            FROM ${BASE_IMAGE}
            WORKDIR /app
            COPY --from=build /out ./
            ENTRYPOINT ["dotnet", "\(name).dll"]

            """
        }
        let program = """
            using System.Runtime.InteropServices;
            using Microsoft.Azure.Devices.Client;

            // Passes every message of the input "input1" on to the output "output1".
            using var client = await ModuleClient.CreateFromEnvironmentAsync(TransportType.Mqtt_Tcp_Only);
            await client.OpenAsync();
            await client.SetInputMessageHandlerAsync("input1", async (message, _) =>
            {
                using var copy = new Message(message.GetBytes());
                foreach (var (key, value) in message.Properties) copy.Properties.Add(key, value);
                await client.SendEventAsync("output1", copy);
                return MessageResponse.Completed;
            }, null);

            var stopped = new TaskCompletionSource();
            using var signal = PosixSignalRegistration.Create(PosixSignal.SIGTERM, _ => stopped.TrySetResult());
            await stopped.Task;

            """
        let project = """
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net8.0</TargetFramework>
                <AssemblyName>\(name)</AssemblyName>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="Microsoft.Azure.Devices.Client" Version="1.*" />
              </ItemGroup>
            </Project>

            """
        return ModuleSkeleton(
            files: [
                ("module.json", description(name, language: "csharp")), ("Program.cs", program),
                ("\(name).csproj", project), (".dockerignore", ".git\nbin\nobj\n"),
            ] + dockerfiles(dockerfile("Release"), debug: dockerfile("Debug")), debugOptions: [:])
    }
}
