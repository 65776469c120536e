# syntax is plain on purpose: any engine builds this, with or without BuildKit.
FROM golang:1.26 AS build
WORKDIR /src
COPY . .
ARG VERSION=dev
# What keeps the image below 20 MB (docs/decisions/0003-size.md): no HTTP/2, which nothing here speaks, and no
# inlining but on the way of a packet to a hub. The last matching pattern counts.
RUN own=github.com/fakecloud/fakecloud && CGO_ENABLED=0 go build -trimpath -tags nethttpomithttp2 \
    -gcflags $own=-l -gcflags $own/cmd/...=-l -gcflags $own/clientkit/...=-l \
    -gcflags $own/internal/...=-l -gcflags $own/emulators/...=-l \
    -gcflags github.com/danielgtaylor/...=-l -gcflags github.com/goccy/...=-l -gcflags github.com/spf13/...=-l \
    -gcflags github.com/eclipse/...=-l -gcflags github.com/gorilla/...=-l -gcflags github.com/coder/...=-l \
    -gcflags net/http=-l -gcflags encoding/xml=-l -gcflags regexp/...=-l -gcflags encoding/asn1=-l \
    -gcflags crypto/x509=-l -gcflags crypto/hpke=-l -gcflags math/big=-l -gcflags text/...=-l -gcflags flag=-l \
    -gcflags net/url=-l -gcflags net/mail=-l -gcflags mime/...=-l -gcflags encoding/csv=-l -gcflags compress/...=-l \
    -gcflags github.com/VictoriaMetrics/...=-l -gcflags software.sslmate.com/...=-l -gcflags golang.org/x/net/...=-l \
    -gcflags $own/internal/broker= -gcflags $own/internal/door= -gcflags $own/internal/journal= \
    -gcflags $own/internal/store= -gcflags $own/internal/fault= -gcflags $own/internal/wire/azure= \
    -gcflags $own/emulators/iothub= -gcflags $own/emulators/iothub/mqtt= \
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
