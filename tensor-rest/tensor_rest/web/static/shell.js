// Shows the page's last call as a shell command.
import { $, say } from "./dom.js";
import { hasKey } from "./gateway.js";

const MAX_JSON_CHARS = 400; // characters of JSON that are shown

export function showImageCall(target) {
  say($("curl"), `curl -F image=@digit.jpg${secret()} ${location.origin}/tf/models/${target}/classify`);
}

export function showTensorCall(target, signature, inputs) {
  const json = JSON.stringify({ signature_name: signature, inputs });
  const data = json.length > MAX_JSON_CHARS ? "@request.json" : `'${json.replaceAll("'", "'\\''")}'`;
  const type = "-H 'Content-Type: application/json'";
  say($("curl"), `curl ${type}${secret()} -d ${data} ${location.origin}/tf/models/${target}/predict`);
}

const secret = () => (hasKey() ? ' -H "X-API-Key: $LAB_API_KEY"' : "");

/** A click on `button` copies the text of `source`. */
export function copyOn(button, source) {
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(source); // where pages may not write to the clipboard, Ctrl+C copies the selection
    const done = await navigator.clipboard?.writeText(source.textContent).then(() => true, () => false);
    say(button, done ? "Copied" : "Selected");
    setTimeout(() => say(button, "Copy"), 1500);
  });
}

copyOn($("copy"), $("curl"));
