import JSONDocument

extension ModuleSkeleton {
    /// A Dockerfile and a script, to be filled with anything.
    static func generic(_ name: String) -> ModuleSkeleton {
        let dockerfile = """
            ARG BASE_IMAGE=debian:stable-slim
            FROM ${BASE_IMAGE}
            COPY run.sh /run.sh
            CMD ["/bin/sh", "/run.sh"]

            """
        let script = """
            #!/bin/sh
            # \(name): put your program here. The runtime gives it IOTEDGE_WORKLOADURI, IOTEDGE_MODULEID and others.
            echo "\(name) runs"
            trap 'exit 0' TERM
            while :; do sleep 1 & wait; done

            """
        return ModuleSkeleton(
            files: [
                ("module.json", description(name, language: "other")), ("run.sh", script), (".dockerignore", ".git\n"),
            ] + dockerfiles(dockerfile, debug: dockerfile), debugOptions: [:])
    }
}
