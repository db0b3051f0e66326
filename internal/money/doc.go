// Package money has amounts as whole numbers of minor units, each with its own number of decimals.
//
// The decimals belong to the loan, not to a table of currencies: loan systems keep UGX and VND with two where ISO 4217
// has none. There is no float anywhere. On the wire an amount is a decimal string (Parse, Decimal); for people it is
// formatted in their locale with exactly the loan's decimals (Format).
package money
