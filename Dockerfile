# syntax is plain on purpose: any engine builds this, with or without BuildKit.
FROM golang:1.26 AS build
WORKDIR /src
COPY . .
ARG VERSION=dev
# Nothing here speaks HTTP/2 (the emulated services do not, on these paths), so it is left out: half a megabyte.
RUN CGO_ENABLED=0 go build -trimpath -tags nethttpomithttp2 -ldflags "-s -w -X main.version=${VERSION}" -o /out/fakecloud ./cmd/fakecloud \
 && mkdir -p /out/data && chown 65532:65532 /out/data && chmod 0700 /out/data

FROM scratch
COPY --from=build /out/fakecloud /fakecloud
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
VOLUME /data
ENV FAKECLOUD_DATA=/data \
    FAKECLOUD_BIND=0.0.0.0 \
    FAKECLOUD_ADMIN_BIND=0.0.0.0 \
    FAKECLOUD_HTTPS_PORT=443
EXPOSE 8883 443 1883 5671 8884 8484 8485
HEALTHCHECK --interval=2s --timeout=2s --start-period=5s --retries=3 CMD ["/fakecloud", "health"]
ENTRYPOINT ["/fakecloud"]
