package store

import (
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// array is a column as an argument that is a PostgreSQL array, which goes out in its binary format as it stands. The driver's own way boxes
// each element: with some hundred rows of ten columns that is most of what a batch allocates.
type array struct{ column }

// arrays are the types that an array's elements may have, by the name that a column gives them: the type's and its array's.
var arrays = map[string]struct{ element, array uint32 }{
	"text":        {pgtype.TextOID, pgtype.TextArrayOID},
	"json":        {pgtype.JSONOID, pgtype.JSONArrayOID},
	"jsonb":       {pgtype.JSONBOID, pgtype.JSONBArrayOID},
	"boolean":     {pgtype.BoolOID, pgtype.BoolArrayOID},
	"smallint":    {pgtype.Int2OID, pgtype.Int2ArrayOID},
	"integer":     {pgtype.Int4OID, pgtype.Int4ArrayOID},
	"bigint":      {pgtype.Int8OID, pgtype.Int8ArrayOID},
	"timestamptz": {pgtype.TimestamptzOID, pgtype.TimestamptzArrayOID},
	"date":        {pgtype.DateOID, pgtype.DateArrayOID},
	"tid":         {pgtype.TIDOID, pgtype.TIDArrayOID},
}

// registerArrays lets a connection take arrays.
func registerArrays(conn *pgx.Conn) {
	types := conn.TypeMap()
	for name, oid := range arrays {
		element, _ := types.TypeForOID(oid.element)
		types.RegisterType(&pgtype.Type{Name: "_" + name, OID: oid.array, Codec: arrayCodec{&pgtype.ArrayCodec{ElementType: element}}})
	}
}

// arrayCodec is the driver's, and takes an array too.
type arrayCodec struct{ *pgtype.ArrayCodec }

func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(array); ok && format == pgx.BinaryFormatCode {
		return encodeArray{}
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

type encodeArray struct{}

func (encodeArray) Encode(value any, b []byte) ([]byte, error) {
	c := value.(array).column
	cell, err := c.cells()
	if err != nil {
		return nil, fmt.Errorf("column %s: %w", c.name, err)
	}
	if c.n == 0 {
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // no dimension
		return binary.BigEndian.AppendUint32(b, arrays[c.typ].element), nil
	}
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 1) // one, with nulls
	b = binary.BigEndian.AppendUint32(b, arrays[c.typ].element)
	b = binary.BigEndian.AppendUint32(b, uint32(c.n))
	b = append(b, 0, 0, 0, 1) // the first has the index 1
	for i := range c.n {
		b = cell(b, i)
	}
	return b, nil
}
