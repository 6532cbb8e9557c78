package eryxon_test

import (
	"cmp"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/syncstate"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

// flat is a text without its indentation.
func flat(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}

// fenced returns the README's code blocks of a language.
func fenced(t *testing.T, language string) []string {
	t.Helper()
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^ *```"+language+"\n(.*?)^ *```$").FindAllStringSubmatch(read(t, "README.md"), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// TestReadmeCompiles holds each piece of Go in the README against
// example_test.go, which compiles and runs; whole programs are built.
func TestReadmeCompiles(t *testing.T) {
	examples := flat(read(t, "example_test.go"))
	blocks := fenced(t, "go")
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		if !strings.HasPrefix(flat(block), "package ") {
			if !strings.Contains(examples, flat(block)) {
				t.Errorf("a snippet of README.md is not in example_test.go:\n%s", block)
			}
			continue
		}
		program := filepath.Join(t.TempDir(), "main.go")
		require.NoError(t, os.WriteFile(program, []byte(block), 0o600))
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, program).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
}

// TestOverviewCompiles does the same for the code in the package overview.
func TestOverviewCompiles(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	require.NoError(t, err)
	examples := flat(read(t, "example_test.go"))
	found := 0
	for _, block := range new(comment.Parser).Parse(file.Doc.Text()).Content {
		if code, ok := block.(*comment.Code); ok && strings.Contains(code.Text, ":=") {
			found++
			if !strings.Contains(examples, flat(code.Text)) {
				t.Errorf("a snippet of doc.go is not in example_test.go:\n%s", code.Text)
			}
		}
	}
	assert.Positive(t, found)
}

// TestReadmeIsComplete demands that the README names every kind of error and
// every status, and that its links lead somewhere.
func TestReadmeIsComplete(t *testing.T) {
	readme := read(t, "README.md")
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	require.NoError(t, err)
	kinds := 0
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			continue
		}
		for _, spec := range group.Specs {
			if value, ok := spec.(*ast.ValueSpec); ok && strings.HasPrefix(value.Names[0].Name, "Err") {
				kinds++
				if !strings.Contains(readme, "`"+value.Names[0].Name+"`") {
					t.Errorf("README.md does not tell of %s", value.Names[0].Name)
				}
			}
		}
	}
	assert.Greater(t, kinds, 10)
	for s := eryxon.Status(0); !strings.HasPrefix(s.String(), "Status("); s++ {
		if !strings.Contains(readme, "`"+s.String()+"`") {
			t.Errorf("README.md does not tell of the status %s", s)
		}
	}
	for _, page := range []string{"README.md", "SERVERS.md"} {
		for _, link := range regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]+))?\)`).FindAllStringSubmatch(read(t, page), -1) {
			to := cmp.Or(link[1], page)
			assert.FileExists(t, to)
			heading := regexp.MustCompile(`(?mi)^#+ ` + strings.ReplaceAll(link[2], "-", " ") + `$`)
			if link[2] != "" && !heading.MatchString(read(t, to)) {
				t.Errorf("%s links to #%s in %s, which has no such heading", page, link[2], to)
			}
		}
	}
}

// TestReadmeTellsTheRequests makes the runs of the README's table.
func TestReadmeTellsTheRequests(t *testing.T) {
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| (none|all|(\d+) %) \| (\d+) \| (\d+) \|$`).FindAllStringSubmatch(read(t, "README.md"), -1)
	require.NotEmpty(t, rows)
	for _, row := range rows {
		n, err := strconv.Atoi(row[1])
		require.NoError(t, err)
		share := map[string]int{"none": 0, "all": 100}[row[2]]
		if row[3] != "" {
			share, err = strconv.Atoi(row[3])
			require.NoError(t, err)
		}
		server, state := &nullServer{}, syncstate.NewMemory()
		client := benchClient(t, server)
		_, err = client.Jobs.BulkSync(t.Context(), []eryxon.Job{benchJob(n)}) // the server is known then
		require.NoError(t, err)
		run := func(changed int) string {
			before := server.requests.Load()
			jobs := func(yield func(eryxon.Job, error) bool) {
				for i := range n {
					j := benchJob(i)
					if i%100 < changed {
						j.Notes = eryxon.Some("changed")
					}
					if !yield(j, nil) {
						return
					}
				}
			}
			for o := range client.Jobs.Stream(t.Context(), jobs, eryxon.WithState(state)).All() {
				require.True(t, o.Status.Success())
			}
			return strconv.FormatInt(server.requests.Load()-before, 10)
		}
		assert.Equal(t, row[4], run(0), "%s: the first run sends all", row[0])
		assert.Equal(t, row[5], run(share), row[0])
	}
}
