// Starts Swagger UI with what the page's element says; a file of its own, so that the
// Content-Security-Policy needs no inline script.
"use strict";

const place = document.getElementById("swagger-ui");
const oauth = JSON.parse(place.dataset.oauth);

const ui = SwaggerUIBundle({
  domNode: place,
  url: new URL("openapi.json", location.href).href,
  oauth2RedirectUrl: new URL("docs/oauth2-redirect", location.href).href,
  validatorUrl: null, // else the document's address is sent to somebody else's server
  deepLinking: true,
  displayRequestDuration: true,
  presets: [SwaggerUIBundle.presets.apis],
});
if (oauth) ui.initOAuth(oauth);
