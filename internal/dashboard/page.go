package dashboard

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"regexp"
	"strings"
)

// Scripts and styles come from here only; asynqmon's component library writes style elements at run time.
const policyBase = "default-src 'none'; connect-src 'self'; img-src 'self' data:; font-src 'self'; manifest-src 'self'; " +
	"style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; script-src 'self'"

var (
	inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
	outsideStyle = regexp.MustCompile(`<link rel="stylesheet" href="https://[^>]*>`)
)

// servePage passes a page of asynqmon on. HTML loses its style sheets from elsewhere and gets a policy that names its own inline scripts by
// their hashes; anything else that were slipped into a page would not run.
func servePage(w http.ResponseWriter, r *http.Request, pages http.Handler) {
	page := &captured{ResponseWriter: w}
	pages.ServeHTTP(page, r)
	if !page.html {
		page.pass()
		return
	}
	body := outsideStyle.ReplaceAll(page.body.Bytes(), nil)
	policy := policyBase
	for _, m := range inlineScript.FindAllSubmatch(body, -1) {
		sum := sha256.Sum256(m[1])
		policy += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Del("Content-Length")
	secure(h, policy)
	w.WriteHeader(page.status)
	w.Write(body)
}

func secure(h http.Header, policy string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

// captured holds an HTML answer back and lets every other one through. asynqmon sets no type on its index page, so the first bytes tell.
type captured struct {
	http.ResponseWriter
	status int
	html   bool
	body   bytes.Buffer
	passed bool
}

func (c *captured) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

func (c *captured) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	if !c.html && !c.passed {
		c.html = bytes.HasPrefix(bytes.ToLower(bytes.TrimLeft(p[:min(len(p), 64)], " \r\n\t")), []byte("<!doctype html")) ||
			strings.HasPrefix(c.Header().Get("Content-Type"), "text/html")
	}
	if c.html {
		return c.body.Write(p)
	}
	c.pass()
	return c.ResponseWriter.Write(p)
}

func (c *captured) pass() {
	if c.passed {
		return
	}
	c.passed = true
	if c.status == 0 {
		c.status = http.StatusOK
	}
	secure(c.Header(), policyBase)
	c.ResponseWriter.WriteHeader(c.status)
}

const loginStyle = `body{font:16px/1.5 system-ui,sans-serif;margin:0;display:grid;place-items:center;min-height:100vh;background:#f4f5f7;color:#172b4d}
main{background:#fff;padding:2rem;border-radius:12px;box-shadow:0 1px 4px #0002;width:min(26rem,90vw);box-sizing:border-box}
h1{font-size:1.25rem;margin:0 0 1rem}label{display:block;margin-bottom:.25rem}
textarea{width:100%;box-sizing:border-box;font:13px/1.4 ui-monospace,monospace;padding:.5rem;border:1px solid #8993a4;border-radius:6px}
button{margin-top:1rem;font:inherit;padding:.5rem 1.25rem;border:0;border-radius:6px;background:#0b57d0;color:#fff;cursor:pointer}
.error{background:#ffebe6;color:#a01800;padding:.5rem .75rem;border-radius:6px}code{background:#f4f5f7;padding:0 .25rem;border-radius:4px}
@media (prefers-color-scheme:dark){body{background:#101418;color:#e3e8ef}main{background:#1c2229}textarea{background:#101418;color:inherit}code{background:#101418}.error{background:#4a1c13;color:#ffd5cc}}`

var loginPage = template.Must(template.New("login").Parse(`<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>Duebell: queues</title><style>` + loginStyle + `</style></head>
<body><main><h1>Duebell queues</h1>{{with .}}<p class="error" role="alert">{{.}}</p>{{end}}
<form method="post" action="` + Root + `/login"><label for="token">Service token with scope <code>duebell:admin</code></label>
<textarea id="token" name="token" rows="5" required autocomplete="off" spellcheck="false"></textarea>
<p>Make one with <code>duebell token --scope duebell:admin</code></p><button>Open</button></form></main></body></html>`))

func writeLogin(w http.ResponseWriter, status int, message string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	secure(h, policyBase)
	w.WriteHeader(status)
	loginPage.Execute(w, message)
}
