package demo

import "fmt"

// person is a row of the import of users.
type person struct {
	ID       string `json:"id,omitempty"`
	Name     string `json:"name"`
	TimeZone string `json:"time_zone"`
	Locale   string `json:"locale"`
}

// cast are the people whose screens the page can show. The first two are shown at first.
var cast = []member{
	{person{"maya", "Maya Collins", "Europe/London", "en-GB"}, "borrower"},
	{person{"lucia", "Lucía Ferrer", "America/Mexico_City", "es-MX"}, "borrower"},
	{person{"jakub", "Jakub Vrána", "Europe/Prague", "cs-CZ"}, "borrower"},
	{person{"noor", "نور الشامي", "Africa/Cairo", "ar-EG"}, "borrower"},
	{person{"arjun", "अर्जुन मेहता", "Asia/Kolkata", "hi-IN"}, "borrower"},
	{person{"olivia", "Olivia Hart", "Europe/London", "en-GB"}, "officer"},
}

type member struct {
	person
	Role string `json:"role"`
}

// borrowers are the members of the cast who have loans.
const borrowers = 5

// officers each have a third of the loans.
var officers = []person{
	cast[len(cast)-1].person,
	{"officer-2", "Petr Sedlák", "Europe/Prague", "cs-CZ"},
	{"officer-3", "Inés Robledo", "Europe/Madrid", "es-ES"},
}

// origin is where people come from: names, and the zones and the locale that go with them.
type origin struct {
	locale        string
	zones         []string
	given, family []string
}

// origins have all names invented, and zones from the first on earth to see a day to nearly the last, some of them with odd
// offsets.
var origins = []origin{
	{"en", []string{"Pacific/Kiritimati", "Pacific/Auckland", "Australia/Adelaide", "Europe/London", "America/St_Johns", "America/New_York",
		"America/Chicago", "America/Los_Angeles"},
		[]string{"Amelia", "Oscar", "Grace", "Henry", "Ruby", "Felix", "Nora", "Miles", "Clara", "Theo", "Hazel"},
		[]string{"Barlow", "Whitfield", "Marsh", "Okafor", "Sutton", "Tearo", "Lindgren", "Pryce", "Calder", "Nakamura", "Fenwick", "Rowe", "Delaney"}},
	{"cs-CZ", []string{"Europe/Prague"},
		[]string{"Jana", "Tomáš", "Eliška", "Marek", "Alena", "Ondřej", "Hana", "Vojtěch", "Lenka", "Radim", "Zuzana"},
		[]string{"Krejčí", "Kočí", "Dolejší", "Hořejší", "Martinů", "Janů", "Petrů", "Jakubů", "Matějů", "Pavlů", "Blažků", "Kubů", "Šimků"}},
	{"es", []string{"Europe/Madrid", "America/Mexico_City", "America/Bogota", "America/Santiago", "America/Argentina/Buenos_Aires"},
		[]string{"Carmen", "Diego", "Valeria", "Andrés", "Sofía", "Mateo", "Elena", "Joaquín", "Marta", "Tomás", "Ximena"},
		[]string{"Quiroga", "Salinas", "Ibáñez", "Montero", "Peña", "Rivas", "Cordero", "Luna", "Vidal", "Arroyo", "Cisneros", "Duarte", "Maldonado"}},
	{"ar", []string{"Africa/Cairo", "Asia/Riyadh", "Asia/Amman", "Africa/Casablanca"},
		[]string{"ليلى", "كريم", "سلمى", "يوسف", "هدى", "عمر", "رنا", "طارق", "مريم", "سامي", "دينا"},
		[]string{"حداد", "منصور", "العمري", "النجار", "قاسم", "الزين", "صالح", "بكر", "الفارس", "درويش", "شاهين", "عزام", "رضوان"}},
	{"hi-IN", []string{"Asia/Kolkata", "Asia/Kathmandu"},
		[]string{"आशा", "विक्रम", "कविता", "रोहन", "मीरा", "संजय", "नेहा", "अमित", "पूजा", "दीपक", "रितु"},
		[]string{"शर्मा", "जोशी", "वर्मा", "नायर", "गुप्ता", "राव", "मिश्रा", "चौहान", "कपूर", "देसाई", "भट्ट", "यादव", "सिन्हा"}},
}

// invented is the n-th of the people who aren't in the cast. The same n is always the same person.
func invented(id string, n int) person {
	o := origins[n%len(origins)]
	n /= len(origins)
	// 11 given and 13 family names: no two of the first 143 of an origin have the same name.
	return person{ID: id, Name: fmt.Sprintf("%s %s", o.given[n%len(o.given)], o.family[n%len(o.family)]),
		TimeZone: o.zones[n%len(o.zones)], Locale: o.locale}
}
