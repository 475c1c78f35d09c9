// A file of its own: the page's policy allows no script inside the HTML.

const KEY = "tensor-lab.key"; // kept in this tab, where the page in front keeps it as well
const form = document.getElementById("key-form");

/** Show the specification, or ask for the key it takes to read it. */
async function show() {
  const key = sessionStorage.getItem(KEY);
  const answer = await fetch("swagger.json", { headers: key ? { "X-API-Key": key } : {} });
  const specification = await answer.json();
  form.hidden = answer.status !== 401;
  form.querySelector("label").textContent = specification.message;
  if (!form.hidden) return form.key.focus();
  const ui = SwaggerUIBundle({
    ...(answer.ok ? { spec: specification } : { url: "swagger.json" }), // the latter says what is wrong
    dom_id: "#swagger-ui",
    deepLinking: true,
    docExpansion: "list",
    displayRequestDuration: true,
    tryItOutEnabled: true,
    onComplete: () => key && ui.preauthorizeApiKey("key", key), // as if given to the button Authorize
    validatorUrl: null, // the default would send the specification to another host
    presets: [SwaggerUIBundle.presets.apis],
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, form.key.value.trim());
  form.reset();
  show();
});
show();
