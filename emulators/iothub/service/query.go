package service

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
	"github.com/fakecloud/fakecloud/internal/wire/hubquery"
)

// The headers of paged answers, and the rows of a page.
const (
	headerCount        = "x-ms-max-item-count"
	headerContinuation = "x-ms-continuation"
	headerItemType     = "x-ms-item-type"
	defaultPage        = 100
	mostPaged          = 1000
)

// queryRequest is a query as clients send it.
type queryRequest struct {
	Query string `json:"query"`
}

func (c *call) query() (answer, error) {
	var in queryRequest
	if err := c.decode(&in, maxBody); err != nil {
		return answer{}, err
	}
	size, err := c.pageSize()
	if err != nil {
		return answer{}, err
	}
	page, err := c.Handler.hub.Query(c.hub.Host, in.Query, size, c.r.Header.Get(headerContinuation))
	if err != nil {
		return answer{}, c.queryFault(err, in.Query)
	}
	a := answer{body: page.Rows, header: map[string]string{headerItemType: page.Type}}
	if page.Continuation != "" {
		a.header[headerContinuation] = page.Continuation
	}
	return a, nil
}

// pageSize reads how many rows a page may have; 0 and nothing stand for the default, as clients send it.
func (c *call) pageSize() (int, error) {
	text := c.r.Header.Get(headerCount)
	if text == "" {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < -1 {
		return 0, failed("SVC-18/size", azure.ArgumentInvalid, headerCount+" is no number of rows", headerCount+": "+show(text), fmt.Sprintf("1 to %d", mostPaged))
	}
	if n < 1 {
		return defaultPage, nil
	}
	return min(n, mostPaged), nil
}

func (c *call) queryFault(err error, query string) error {
	var syntax *hubquery.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return failed("SVC-20/syntax", azure.ArgumentInvalid, "the query cannot be read: "+syntax.Error(), show(query), "SELECT … FROM devices [WHERE …] [GROUP BY …]")
	case errors.Is(err, iothub.ErrInvalid):
		return failed("SVC-18/continuation", azure.ArgumentInvalid, err.Error(), headerContinuation+" of another query", "the token of the page before, with the same query text")
	}
	return c.fault(err, faults{})
}
