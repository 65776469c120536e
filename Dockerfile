# syntax is plain on purpose: any engine builds this, with or without BuildKit.
FROM golang:1.26 AS build
WORKDIR /src
COPY . .
ARG VERSION=dev
# What keeps the image below 20 MB (docs/decisions/0003-size.md): no HTTP/2, which nothing here speaks, and no
# inlining in code that runs once, or for a person who waits.
RUN own=github.com/fakecloud/fakecloud && CGO_ENABLED=0 go build -trimpath -tags nethttpomithttp2 \
    -gcflags $own=-l -gcflags $own/cmd/...=-l -gcflags $own/clientkit/...=-l -gcflags $own/internal/control=-l \
    -gcflags $own/internal/world=-l -gcflags $own/internal/explain=-l -gcflags $own/internal/pki=-l \
    -gcflags github.com/danielgtaylor/...=-l -gcflags github.com/goccy/...=-l -gcflags github.com/spf13/...=-l \
    -gcflags github.com/eclipse/...=-l -gcflags github.com/gorilla/...=-l \
    -ldflags "-s -w -X main.version=${VERSION}" -o /out/fakecloud ./cmd/fakecloud \
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
