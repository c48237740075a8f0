# The server's image: `docker build -t rejoin .`, with BuildKit (the cache mounts need it).
# The build needs Rust and a C compiler, which the slim image has; cargo's registry and the target folder are kept between
# builds, so that an edit compiles what it touched and no more.
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --locked --release -p sync-server --bin sync-server \
    && install -D target/release/sync-server /out/usr/local/bin/sync-server \
    && install -d -m 700 /out/data

# The same Debian as above, for the same libc. Nothing is installed: the server needs libc, and certificate authorities
# where Postgres or Redis speak TLS.
FROM debian:12.12-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/usr/local/bin/sync-server /usr/local/bin/sync-server
# Only the embedded store writes, and only here: with `--read-only` give it a volume. On Postgres nothing is written.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV REJOIN_DATA=/data REJOIN_LISTEN=0.0.0.0:8787
EXPOSE 8787
# SIGTERM stops in good order, within http.shutdown_timeout_ms twice.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=10s --start-period=30s --retries=3 CMD ["sync-server", "health"]
ENTRYPOINT ["sync-server"]
CMD ["serve"]
