// Package edgeroute reads and evaluates the routes of an IoT Edge hub (Microsoft Learn, "Deploy modules and
// establish routes"; grammar of Azure/iotedge, Routing.Core/grammar):
//
//	[SELECT *] FROM <source> [WHERE <condition>] INTO <sink>
//
// A condition compares system properties ($connectionDeviceId, {$body}), application properties (bare
// names), parts of a JSON body ($body.path) and literals. Application and system properties are texts:
// as_number makes numbers of them. What is not there is undefined, and so is what is computed from it; a
// route matches where its condition is true. Errors name the column, from 1.
package edgeroute
