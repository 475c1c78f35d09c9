"use strict";
// A file of its own: the page's policy allows no script inside the HTML.
window.ui = SwaggerUIBundle({
  url: "swagger.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "list",
  displayRequestDuration: true,
  tryItOutEnabled: true,
  requestInterceptor: (request) => {
    const key = sessionStorage.getItem("tensor-lab.key"); // as the page keeps it
    if (key) request.headers["X-API-Key"] = key;
    return request;
  },
  validatorUrl: null, // the default would send the specification to another host
  presets: [SwaggerUIBundle.presets.apis],
});
