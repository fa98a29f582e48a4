# The image has the program, its libraries and the CA certificates that it trusts: no shell, no packages.
#
#   docker build -t central-forwarder .
#   docker run -v ./config:/etc/central-forwarder:ro -v state:/var/lib/central-forwarder \
#       --read-only central-forwarder

FROM rust:1.95-bookworm AS build
WORKDIR /build

# The dependencies: a layer that is built again only when one of these files changes.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY scripts/cxx scripts/dependencies scripts/
RUN scripts/dependencies

COPY . .
RUN cargo build --release --locked --bin central-forwarder
RUN scripts/rootfs target/release/central-forwarder /image

FROM scratch
LABEL org.opencontainers.image.title="central-forwarder" \
      org.opencontainers.image.description="Bridges the event streams of HPE Aruba Networking Central to Kafka, AMQP and MQTT" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image /
USER 65532:65532
VOLUME /var/lib/central-forwarder
# The admin endpoint: /metrics, /healthz and the status page. The health check needs [admin] in the config;
# without it, run the container with --no-healthcheck.
EXPOSE 9600
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["/usr/bin/central-forwarder", "healthcheck"]
ENTRYPOINT ["/usr/bin/central-forwarder"]
CMD ["run"]
