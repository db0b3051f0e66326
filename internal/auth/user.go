package auth

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxUserID is how many characters a user id may have.
const MaxUserID = 128

// CheckUserID says what is wrong with id as a user's name, or nil. Ids are compared byte by byte: "A" and "a" are two users.
func CheckUserID(id string) error {
	switch {
	case id == "":
		return errors.New("is empty")
	// U+FFFD is what decoders put in place of bytes that aren't UTF-8: two broken ids would become one user.
	case !utf8.ValidString(id), strings.ContainsRune(id, utf8.RuneError):
		return errors.New("isn't valid UTF-8")
	case utf8.RuneCountInString(id) > MaxUserID:
		return fmt.Errorf("is longer than %d characters", MaxUserID)
	case strings.ContainsFunc(id, unicode.IsControl):
		return errors.New("has control characters")
	}
	return nil
}
