# syntax=docker/dockerfile:1

# Build:  docker build -t millpond .
# Run:    docker run -p 8080:8080 -v "$PWD/config:/etc/millpond:ro" millpond
#         with your millpond.toml in config/. It must listen on 0.0.0.0; the health check asks its [admin] listener, which may
#         stay on loopback.

FROM rust:1.95-slim-bookworm AS build
# What the allocator is built with; the image has a C compiler, but not this.
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# Only what the build reads, so that a change to documentation or tests compiles nothing again.
COPY Cargo.toml Cargo.lock ./
COPY .cargo ./.cargo
COPY benches ./benches
COPY src ./src
# Dependencies and their objects live in cache mounts: they survive a change to the sources and stay out of the image.
# Line tables are for profiling on a build machine; a backtrace keeps its function names without them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin millpond \
    && objcopy --strip-debug target/release/millpond /millpond

# The C library and root certificates, no shell, no package manager; the tag's user has the id 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Millpond" \
      org.opencontainers.image.description="A two-tier caching reverse proxy for slow HTTP APIs" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /millpond /usr/local/bin/millpond
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/millpond/

# The configuration is mounted. Mount the directory rather than the file where it is to be reloaded: an editor that
# replaces a file leaves a mounted file as it was.
VOLUME ["/etc/millpond"]
EXPOSE 8080
USER nonroot
# SIGTERM drains: readiness goes off, requests in flight are finished.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/millpond", "health", "--admin", "http://127.0.0.1:9090"]
ENTRYPOINT ["/usr/local/bin/millpond"]
CMD ["run", "-c", "/etc/millpond/millpond.toml"]
