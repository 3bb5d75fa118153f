# tagalong in a container, beside the proxy: see compose.yml.
# The three base images are arguments, so that you can use a mirror, or images made on this machine.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG DOCKER_CLI_IMAGE=docker:28.5.2-cli
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY config config
COPY crates crates
COPY src src
COPY templates templates
RUN cargo build --release --locked --bin tagalong

FROM ${DOCKER_CLI_IMAGE} AS docker-cli

FROM ${BASE_IMAGE}
# No versions are named, so that each build gets the distribution's current security updates.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl git openssh-client tini \
    && rm -rf /var/lib/apt/lists/*

COPY --from=docker-cli /usr/local/bin/docker /usr/local/bin/docker
COPY --from=docker-cli /usr/local/libexec/docker/cli-plugins/docker-compose /usr/local/libexec/docker/cli-plugins/docker-compose
COPY --from=build /src/target/release/tagalong /usr/local/bin/tagalong

# Compose 2.34 to 2.40.1 would fetch remote files that a compose file names; tagalong refuses them, so no image is built with one.
RUN tagalong --version && docker --version && version="$(docker compose version --short)" && echo "compose ${version}" \
    && case "${version#v}" in 1.*|2.3[4-9].*|2.40.[01]) echo "compose ${version} is refused by tagalong" >&2; exit 1 ;; esac

# The user must be able to write the .env files of the stacks: build it with the ids of their owner.
ARG UID=1000
ARG GID=1000
RUN groupadd --gid "${GID}" tagalong \
    && useradd --uid "${UID}" --gid "${GID}" --home-dir /var/lib/tagalong --no-create-home --shell /usr/sbin/nologin tagalong \
    && install -d -o tagalong -g tagalong -m 0700 /var/lib/tagalong /run/tagalong

LABEL org.opencontainers.image.title="tagalong" \
      org.opencontainers.image.description="Deploys a tag with docker compose, checks the page from outside, and rolls back if the check fails" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

USER ${UID}:${GID}
ENV HOME=/var/lib/tagalong
WORKDIR /var/lib/tagalong
VOLUME /var/lib/tagalong
EXPOSE 8787
# /healthz is for the port of the example configuration; a different `listen` needs a different health check in the compose file.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:8787/healthz"]
# An init as process 1 reaps processes that a hook leaves behind, and forwards signals.
ENTRYPOINT ["tini", "--", "tagalong"]
CMD ["serve", "--config", "/etc/tagalong/tagalong.toml"]
