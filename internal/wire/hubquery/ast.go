package hubquery

// Collection is what a query reads.
type Collection string

// The collections.
const (
	Devices Collection = "devices"
	Modules Collection = "devices.modules"
	Jobs    Collection = "devices.jobs"
)

// Query is a query that was read without error. It is not changed by its use.
type Query struct {
	From    Collection
	Top     int // at most so many rows; 0 is no limit
	All     bool
	columns []column
	where   expr // nil takes every row
	groups  []path
}

// column is one element of the select list.
type column struct {
	name      string // its key in the row
	value     expr   // of an aggregate its argument, nil for COUNT()
	aggregate string // COUNT, AVG, SUM, MIN, MAX; empty for none
	at        token
}

// Raw reports whether the rows are of a form of their own, not whole documents.
func (q *Query) Raw() bool { return !q.All }

// Grouped reports whether rows are made of many documents.
func (q *Query) Grouped() bool {
	if len(q.groups) > 0 {
		return true
	}
	for _, c := range q.columns {
		if c.aggregate != "" {
			return true
		}
	}
	return false
}

// Condition is what stands behind WHERE, for jobs and configurations.
type Condition struct {
	From  Collection
	where expr
}

// expr is an expression; eval returns undefined where there is no value.
type expr interface {
	eval(doc any) any
}

// undefined is the value of what does not exist. It matches nothing and is not written.
type nothing struct{}

var undefined = nothing{}

type (
	literal struct{ value any }
	path    struct{ steps []any } // member names and array indices
	not     struct{ of expr }
	minus   struct{ of expr }
	logic   struct {
		and  bool
		a, b expr
	}
	compare struct {
		op   string // = != < <= > >=
		a, b expr
	}
	arith struct {
		op   byte
		a, b expr
	}
	among struct { // IN and NIN
		none bool
		a    expr
		list []expr
	}
	call struct {
		f    *function
		args []expr
	}
)
