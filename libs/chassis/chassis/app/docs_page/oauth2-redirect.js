// In the window that "Authorize" opened, back from the identity provider: hands the code to the
// page that opened it. Unlike Swagger UI's own, it takes no code whose state is not the one sent.
"use strict";

const pending = window.opener && window.opener.swaggerUIRedirectOauth2;
const answer = Object.fromEntries(new URLSearchParams(location.search));

function refuse(message) {
  pending.errCb({ authId: pending.auth.name, source: "auth", level: "error", message });
}

if (!pending) {
  document.body.textContent = "This page ends a login that was begun with Authorize at /docs.";
} else {
  if (answer.state !== pending.state) {
    refuse("The answer does not belong to this login; begin again.");
  } else if (!answer.code) {
    refuse([answer.error, answer.error_description].filter(Boolean).join(": ") || "There is no code.");
  } else {
    delete pending.state;
    pending.auth.code = answer.code;
    pending.callback({ auth: pending.auth, redirectUrl: pending.redirectUrl });
  }
  window.close();
}
