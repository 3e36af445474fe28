// What Streamlit leaves out: a status that is heard, paste and drop anywhere, a link to copy.
// It knows Streamlit's elements by their data-testid alone; without them it does nothing.

const BOX = '[data-testid="stChatInput"]';
const SUBMIT = '[data-testid="stChatInputSubmitButton"]';
const LONGEST_UPLOAD_MS = 120_000;

// --- a status that outlives each drawing of the page (WCAG 2.2, 4.1.3) ---

const status = document.createElement("div");
status.className = "heard";
status.setAttribute("role", "status");
document.body.append(status);

function listen() {
  const said = document.querySelector("[data-announce]")?.dataset.announce;
  if (said && said !== status.textContent) status.textContent = said;
  const language = document.querySelector("[data-lang]")?.dataset.lang;
  if (language) document.documentElement.lang = language;
}

new MutationObserver(listen).observe(document.getElementById("root"), {
  subtree: true, childList: true, characterData: true, attributes: true,
  attributeFilter: ["data-announce", "data-lang"],
});

// --- pictures and addresses, wherever they are pasted or dropped ---

function submitWhenReady(until = Date.now() + LONGEST_UPLOAD_MS) {
  const button = document.querySelector(SUBMIT);
  if (button && !button.disabled) button.click();
  else if (Date.now() < until) setTimeout(submitWhenReady, 50, until);
}

function hand(files) {
  const input = document.querySelector(`${BOX} input[type=file]`);
  if (!input) return;
  const chosen = new DataTransfer();
  for (const file of files) chosen.items.add(file);
  input.files = chosen.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

function type(text) {
  const box = document.querySelector(`${BOX} textarea`);
  if (!box) return;
  // React sees only what passes its own setter by.
  const { set } = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value");
  set.call(box, text);
  box.dispatchEvent(new Event("input", { bubbles: true }));
  submitWhenReady();
}

function take(event, data) {
  const text = data.getData("text/uri-list") || data.getData("text/plain");
  const isTyping = event.type === "paste" && event.target.closest?.("input, textarea");
  if (!data.files.length && (isTyping || !text)) return;
  event.preventDefault();
  event.stopPropagation();
  if (data.files.length) hand(data.files);
  else type(text);
}

function isDragOfOthers(event) {
  return ["Files", "text/uri-list", "text/plain"].some((kind) => event.dataTransfer.types.includes(kind));
}

const mark = (on) => document.body.classList.toggle("dropping", on);
addEventListener("paste", (event) => take(event, event.clipboardData), true);
addEventListener("drop", (event) => { mark(false); take(event, event.dataTransfer); }, true);
addEventListener("dragover", (event) => {
  if (!isDragOfOthers(event)) return;
  event.preventDefault();
  mark(true);
}, true);
addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(false); }, true);
// A file that was chosen is meant: it needs no second step.
addEventListener("change", (event) => {
  if (event.target.matches?.(`${BOX} input[type=file]`) && event.target.files.length) submitWhenReady();
}, true);

// --- what can be copied: a text, or the link to an answer ---

addEventListener("click", async (event) => {
  const button = event.target.closest?.(".copy");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.text || location.href);
  status.textContent = button.textContent = button.dataset.copied;
});
