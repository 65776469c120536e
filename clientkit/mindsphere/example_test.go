package mindsphere_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"time"

	"github.com/fakecloud/fakecloud/clientkit/mindsphere"
)

// An agent is onboarded in region eu1, makes its asset and sends a value.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cert, err := tls.LoadX509KeyPair("pump-7_chain.pem", "pump-7.key")
	if err != nil {
		log.Print(err)
		return
	}
	agent, err := mindsphere.Dial(ctx, mindsphere.Config{Region: mindsphere.EU1, Tenant: "demo", Certificate: cert})
	var dropped *mindsphere.DroppedError
	if errors.As(err, &dropped) {
		log.Printf("not accepted after %d attempts", dropped.Attempts)
	}
	if err != nil {
		log.Print(err)
		return
	}
	defer agent.Close(ctx)
	_, err = agent.ApplyModel(ctx, mindsphere.Model{
		AspectTypes: []mindsphere.AspectType{{ID: "demo.climate", Name: "climate", Category: "dynamic", Scope: "private",
			Variables: []mindsphere.Variable{{Name: "temperature", DataType: "DOUBLE", Unit: "C"}}}},
		AssetTypes: []mindsphere.AssetType{{ID: "demo.pump", Name: "pump", ParentTypeID: "core.basicasset", Instantiable: true,
			Scope: "private", Aspects: []mindsphere.Aspect{{Name: "climate", AspectTypeID: "demo.climate"}}}},
		Assets: []mindsphere.Asset{{ReferenceID: "pump", TypeID: "demo.pump", Name: "Pump 7"}},
		Mappings: []mindsphere.Mapping{{DataPointID: "t1", AssetReferenceID: "pump", AspectName: "climate",
			VariableName: "temperature"}},
	}, func(p mindsphere.Progress) { log.Print(p.Message) })
	if err != nil {
		log.Print(err)
		return
	}
	err = agent.SendTimeSeries(ctx, mindsphere.Sample{Values: []mindsphere.Value{{DataPoint: "t1", Value: 21.5}}})
	if err != nil {
		log.Print(err)
	}
}

// A command tells how far it is, and ends as EXECUTED, or as FAILED with the error's text.
func ExampleAgent_OnCommand() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cert, err := tls.LoadX509KeyPair("pump-7_chain.pem", "pump-7.key")
	if err != nil {
		log.Print(err)
		return
	}
	agent, err := mindsphere.Dial(ctx, mindsphere.Config{Region: mindsphere.EU1, Tenant: "demo", Certificate: cert})
	if err != nil {
		log.Print(err)
		return
	}
	defer agent.Close(ctx)
	err = agent.OnCommand(ctx, func(ctx context.Context, c mindsphere.Command) (any, error) {
		if err := c.Update(ctx, map[string]int{"percent": 50}); err != nil {
			return nil, err
		}
		return map[string]string{"result": "done"}, nil
	})
	if err != nil {
		log.Print(err)
	}
}
