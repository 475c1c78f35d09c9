// A separate file: the page's Content-Security-Policy forbids scripts inside the HTML.

const KEY = "tensor-lab.key"; // in this tab's session storage, shared with the main page
const SAMPLE = "mnist_2_0002.jpg"; // of /samples/: sent where no file is chosen, so that each operation works unchanged
const METHODS = ["get", "post", "put"];
const LINE = 160; // characters
const form = document.getElementById("key-form");

/** Show the specification, or the form for the API key that is required to read it. */
async function show() {
  const key = sessionStorage.getItem(KEY);
  const answer = await fetch("swagger.json", { headers: key ? { "X-API-Key": key } : {} });
  const specification = await answer.json();
  form.hidden = answer.status !== 401;
  form.querySelector("label").textContent = specification.message;
  if (!form.hidden) return form.key.focus();
  const sample = await file(`../samples/${SAMPLE}`);
  const ui = SwaggerUIBundle({
    ...(answer.ok ? { spec: specification } : { url: "swagger.json" }), // the latter shows the error
    dom_id: "#swagger-ui",
    deepLinking: true,
    docExpansion: "list",
    displayRequestDuration: true,
    tryItOutEnabled: true,
    onComplete: () => {
      if (key) ui.preauthorizeApiKey("key", key); // as if given to the button Authorize
      prefill(ui, sample);
    },
    validatorUrl: null, // the default would send the specification to another host
    presets: [SwaggerUIBundle.presets.apis],
    plugins: sample ? [noteUnderFiles] : [],
  });
}

/** The file at `url`; null where the samples are not installed. */
async function file(url) {
  const answer = await fetch(url);
  return answer.ok ? new File([await answer.blob()], SAMPLE, { type: "image/jpeg" }) : null;
}

/** Put the sample into every file field, and write bodies compactly: an image takes 28 lines, not 784. */
function prefill(ui, sample) {
  for (const [path, item] of ui.specSelectors.paths()) {
    for (const method of METHODS.filter((each) => item.has(each))) {
      for (const parameter of item.getIn([method, "parameters"], [])) {
        const example = parameter.getIn(["schema", "example"]);
        const value = parameter.get("type") === "file" ? sample : example && written(example.toJS());
        if (value) ui.specActions.changeParamByIdentity([path, method], parameter, value, false);
      }
    }
  }
}

/** A plugin of Swagger UI that shows below a file field which file is sent if none is chosen. */
function noteUnderFiles() {
  const withNote = (Original, { React }) => (props) => {
    const input = React.createElement(Original, props);
    if (props.schema.get("type") !== "file") return input;
    const note = React.createElement("small", { className: "sample-note" }, `If no file is chosen: ${SAMPLE}, a sample`);
    return React.createElement("div", null, input, note);
  };
  return { wrapComponents: { JsonSchema_string: withNote } };
}

/** JSON with each value on one line if it fits. */
function written(value, indent = "") {
  const line = JSON.stringify(value);
  if (typeof value !== "object" || value === null || indent.length + line.length <= LINE) return line;
  const inner = `${indent}  `;
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const members = Array.isArray(value)
    ? value.map((each) => written(each, inner))
    : Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${written(each, inner)}`);
  return `${open}\n${inner}${members.join(`,\n${inner}`)}\n${indent}${close}`;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, form.key.value.trim());
  form.reset();
  show();
});
show();
