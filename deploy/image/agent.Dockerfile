# syntax=docker/dockerfile:1
# The image of an agent: Majordomo, a shell and git. Build yours on it, with the tools that your builds need.
#
#   docker build -f deploy/image/agent.Dockerfile -t registry.example.com/majordomo-agent:0.1.0 \
#       --build-arg MAJORDOMO=registry.example.com/majordomo:0.1.0 .

ARG MAJORDOMO=registry.example.com/majordomo:0.1.0
FROM ${MAJORDOMO} AS majordomo

FROM debian:bookworm-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Majordomo agent" \
      org.opencontainers.image.description="An agent for builds of Majordomo, with a shell and git" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates git openssh-client tini && \
    rm -rf /var/lib/apt/lists/* && \
    groupadd --gid 65532 agent && \
    useradd --uid 65532 --gid 65532 --create-home --home-dir /home/agent agent && \
    install -d --owner=65532 --group=65532 --mode=700 /var/lib/majordomo-agent
COPY --from=majordomo /usr/local/bin/majordomo /usr/local/bin/majordomo
USER 65532:65532
WORKDIR /home/agent
ENV JENKINS_AGENT_WORKDIR=/var/lib/majordomo-agent
VOLUME /var/lib/majordomo-agent
# Steps are processes of their own, which outlive what has started them: tini waits for those that nobody else does.
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/majordomo", "agent"]
