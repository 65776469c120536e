// Package rest serves the REST APIs of MindSphere that belong to MindConnect MQTT, at the gateway's paths: CA
// and agent certificates, delivery jobs of commanding, assets, the read side of time series, and the download of models
// ("Managing CA Certificates using MindConnect MQTT API", "MindConnect MQTT Commanding"; shapes as in
// github.com/mindsphere/mindconnect-nodejs).
//
// The caller's tenant stands in the bearer token: one of fakecloud's own, a token of the real service or of a
// fixture (its claim ten is taken unverified, as nothing here is worth protecting), or the tenant's plain name.
package rest
