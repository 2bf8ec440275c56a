// Shows the document of the API, and sends what is tried. The token lives in this tab only.
const $ = (id) => document.getElementById(id);
const SHOWN_CHARACTERS = 65536;  // of an answer: a table's store, or a stream, may have no end
const KEPT = "dynakv-docs-token";
let api;

// ----- Elements: never from text that is read as HTML

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) { element.addEventListener(name.slice(2), value); }
    else if (value === true) { element.setAttribute(name, ""); }
    else if (value !== false && value !== undefined) { element.setAttribute(name, value); }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

// What is between backticks is code; an empty line ends a paragraph.
function prose(text = "") {
  return text.split("\n\n").filter(Boolean).map((part) => make("p", {}, inline(part)));
}

function inline(text = "") {
  return text.split(/``?([^`]+)``?/).map((part, at) => at % 2 ? make("code", {}, part) : part);
}

// ----- The document

function found(part) {
  if (part === undefined || part.$ref === undefined) { return part; }
  const { $ref, ...beside } = part;
  return { ...$ref.slice(2).split("/").reduce((inside, name) => inside[name], api), ...beside };
}

const nameOf = (ref) => ref.slice(ref.lastIndexOf("/") + 1);

function typeOf(schema = {}) {
  if (schema.$ref) { return [make("a", { href: "#schema-" + nameOf(schema.$ref) }, nameOf(schema.$ref))]; }
  const several = schema.anyOf || schema.oneOf;
  if (several) { return several.flatMap((one, at) => at ? [" or ", ...typeOf(one)] : typeOf(one)); }
  if (schema.enum) { return [schema.enum.map((one) => JSON.stringify(one)).join(" | ")]; }
  if (schema.const !== undefined) { return [JSON.stringify(schema.const)]; }
  if (schema.type === "array") { return ["list of ", ...typeOf(schema.items)]; }
  if (schema.type === "object" && typeof schema.additionalProperties === "object") {
    return ["object of ", ...typeOf(schema.additionalProperties)];
  }
  return [(schema.type || "anything") + bounds(schema)];
}

function bounds(schema) {
  const said = [];
  if (schema.minimum !== undefined) { said.push("from " + schema.minimum); }
  if (schema.maximum !== undefined) { said.push("to " + schema.maximum); }
  if (schema.minLength > 1) { said.push("at least " + schema.minLength + " characters"); }
  if (schema.maxLength !== undefined) { said.push("at most " + schema.maxLength + " characters"); }
  if (schema.maxItems !== undefined) { said.push("at most " + schema.maxItems); }
  if (schema.default !== undefined) { said.push("usually " + JSON.stringify(schema.default)); }
  return said.length ? ` (${said.join(", ")})` : "";
}

function members(schema) {
  if (!schema.properties) { return [make("p", {}, typeOf(schema))]; }
  return [make("ul", { class: "members" }, Object.entries(schema.properties).map(([name, one]) => make("li", {},
    make("code", {}, name), (schema.required || []).includes(name) ? " " : " (optional) ", typeOf(one),
    one.description ? [": ", ...inline(one.description)] : [])))];
}

// ----- An operation

class Operation {
  constructor(method, path, said) {
    Object.assign(this, { method: method.toUpperCase(), path, said });
    this.id = said.operationId;
    this.parameters = (said.parameters || []).map(found);
    this.content = found(said.requestBody)?.content["application/json"];
    this.inputs = new Map();
    this.text = [this.method, path, this.id, said.summary, said.description].join(" ").toLowerCase();
  }

  view() {
    this.details = make("details", { id: this.id, ontoggle: () => this.open() }, make("summary", {},
      make("span", { class: "method " + this.method }, this.method), make("span", { class: "path" }, this.path),
      make("span", { class: "said" }, inline(this.said.summary))));
    return this.details;
  }

  open() {  // is made when it is opened first: there are many
    if (this.inside || !this.details.open) { return; }
    this.curl = make("pre", { tabindex: "0", "aria-label": "The same with curl" });
    this.inside = make("div", { class: "inside" }, prose(this.said.description), this.parametersView(), this.bodyView(),
      make("h3", {}, "curl"), this.curl, this.tryView(), make("h3", {}, "Answers"), this.answersView());
    this.inside.addEventListener("input", () => this.showCurl());
    this.details.append(this.inside);
    this.showCurl();
  }

  parametersView() {
    if (!this.parameters.length) { return []; }
    const rows = this.parameters.map((one) => {
      const input = this.inputOf(one);
      this.inputs.set(one, input);
      return make("tr", {}, make("td", {}, make("code", {}, one.name), one.required ? "" : make("small", {}, " optional")),
        make("td", {}, one.in), make("td", {}, input), make("td", {}, inline(one.description), " ",
          make("small", {}, typeOf(one.schema))));
    });
    return [make("h3", {}, "Parameters"), make("table", {}, make("thead", {}, make("tr", {},
      ["Name", "In", "Value", "Meaning"].map((title) => make("th", { scope: "col" }, title)))), make("tbody", {}, rows))];
  }

  inputOf(one) {
    const label = { "aria-label": one.name, autocomplete: "off", spellcheck: "false" };
    const choices = one.schema.enum || (one.schema.type === "boolean" ? ["true", "false"] : null);
    if (choices) { return make("select", label, ["", ...choices].map((value) => make("option", { value }, value))); }
    const value = one.in === "path" ? one.example : undefined;
    return make("input", { ...label, value, placeholder: one.example ?? "", required: one.required });
  }

  bodyView() {
    if (!this.content) { return []; }
    const example = this.content.example === undefined ? "" : JSON.stringify(this.content.example, null, 2);
    this.body = make("textarea", { "aria-label": "Body", spellcheck: "false" });
    this.body.value = example;
    return [make("h3", {}, "Body"), members(found(this.content.schema)), this.body];
  }

  answersView() {
    const rows = Object.entries(this.said.responses).map(([status, part]) => {
      const answer = found(part), schemas = Object.entries(answer.content || {});
      return make("tr", {}, make("td", {}, make("code", { class: status < 400 ? "good" : "error" }, status)),
        make("td", {}, prose(answer.description), schemas.map(([type, one]) => make("p", {}, make("small", {}, type + ": "),
          typeOf(one.schema))), messages(answer)));
    });
    return make("table", {}, make("tbody", {}, rows));
  }

  tryView() {
    if (this.path === "/ws") { return []; }
    this.result = make("div", { "aria-live": "polite" });
    this.stop = make("button", { class: "second", type: "button", hidden: true, onclick: () => this.abort.abort() }, "Stop");
    this.send = make("button", { type: "button", onclick: () => this.ask() }, "Try it");
    return [make("div", { class: "buttons" }, this.send, this.stop), this.result];
  }

  // What is to be sent, as the inputs say.
  request() {
    const query = new URLSearchParams(), headers = {};
    let path = this.path;
    for (const [one, input] of this.inputs) {
      if (one.in === "path") { path = path.replace(`{${one.name}}`, encodeURIComponent(input.value)); }
      else if (input.value === "") { continue; }
      else if (one.in === "query") { query.set(one.name, input.value); }
      else { headers[one.name] = input.value; }
    }
    const body = this.body && this.body.value !== "" ? this.body.value : undefined;
    if (body !== undefined) { headers["Content-Type"] = "application/json"; }
    return { url: path + (query.size ? "?" + query : ""), headers, body };
  }

  get takesToken() { return this.said.security.some((one) => one.token); }

  showCurl() {
    const { url, headers, body } = this.request();
    const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";
    const words = ["curl", ...(this.method === "GET" ? [] : ["-X", this.method]), quoted(location.origin + url)];
    if (this.takesToken) { words.push("-H", '"Authorization: Bearer $TOKEN"'); }
    for (const [name, value] of Object.entries(headers)) { words.push("-H", quoted(`${name}: ${value}`)); }
    if (body !== undefined) { words.push("-d", quoted(body)); }
    this.curl.textContent = words.join(" ");
  }

  async ask() {
    const { url, headers, body } = this.request();
    if (this.takesToken && $("token").value) { headers.Authorization = "Bearer " + $("token").value.trim(); }
    this.abort = new AbortController();
    this.send.disabled = true;
    this.stop.hidden = false;
    try {
      const answer = await fetch(url, { method: this.method, headers, body, signal: this.abort.signal, cache: "no-store" });
      await this.show(answer);
    } catch (error) {
      if (error.name !== "AbortError") { this.result.replaceChildren(make("p", { class: "error" }, error.message)); }
    } finally {
      this.send.disabled = false;
      this.stop.hidden = true;
    }
  }

  async show(answer) {
    const shown = make("pre", { tabindex: "0", "aria-label": "Body of the answer" });
    const head = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    this.result.replaceChildren(
      make("p", { class: answer.ok ? "good" : "error" }, `${answer.status} ${answer.statusText}`),
      make("pre", { tabindex: "0", "aria-label": "Head of the answer" }, head), shown);
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (reader) {
      const { done, value } = await reader.read();
      if (done) { break; }
      text += value;
      shown.textContent = text;
      if (text.length > SHOWN_CHARACTERS) {
        shown.textContent = text.slice(0, SHOWN_CHARACTERS) + "\n… and more, which is not shown";
        this.abort.abort();
        return;
      }
    }
    shown.textContent = pretty(text);
  }
}

function messages(answer) {
  const list = answer["x-messages"] || [];
  return list.length ? make("p", {}, "Messages: ", list.flatMap((one, at) => at ? [", ", ...typeOf(one)] : typeOf(one))) : null;
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

// ----- The page

function schemaView([name, schema]) {
  return make("details", { id: "schema-" + name }, make("summary", {}, make("span", { class: "path" }, name),
    make("span", { class: "said" }, inline((schema.description || "").split("\n\n")[0]))),
  make("div", { class: "inside" }, prose(schema.description), name === "Code" ? codes(schema) : members(schema)));
}

function codes(schema) {
  return make("ul", { class: "members" }, schema.anyOf.map((one) => make("li", {}, make("code", {}, one.const), ": ",
    inline(one.description))));
}

function showAll() {
  $("version").textContent = api.info.version;
  $("about").append(...prose(api.info.description));
  const operations = Object.entries(api.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, said]) => new Operation(method, path, said)));
  for (const tag of api.tags) {
    const mine = operations.filter((one) => one.said.tags.includes(tag.name));
    $("operations").append(make("section", { "data-group": tag.name }, make("h2", {}, tag.name),
      make("p", { class: "hint" }, tag.description), mine.map((one) => one.view())));
    $("contents").append(make("section", { "data-group": tag.name }, make("h3", {}, tag.name), make("ul", {},
      mine.map((one) => one.item = make("li", {}, make("a", { href: "#" + one.id }, one.method + " " + one.path))))));
  }
  $("schemas").append(...Object.entries(api.components.schemas).map(schemaView));
  return operations;
}

function search(operations) {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const one of operations) {
    one.details.hidden = one.item.hidden = !words.every((word) => one.text.includes(word));
  }
  for (const section of document.querySelectorAll("[data-group]")) {
    section.hidden = ![...section.querySelectorAll("details, li")].some((one) => !one.hidden);
  }
}

function openNamed() {
  const named = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!named) { return; }
  if (named.tagName === "DETAILS") {
    named.open = true;
    named.firstElementChild.focus();
  }
  named.scrollIntoView();
}

async function begin() {
  $("token").value = sessionStorage.getItem(KEPT) || "";
  $("token").addEventListener("input", () => sessionStorage.setItem(KEPT, $("token").value));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) {
      event.preventDefault();
      $("search").focus();
    }
  });
  try {
    api = await (await fetch("/openapi.json")).json();
    const operations = showAll();
    $("search").addEventListener("input", () => search(operations));
    addEventListener("hashchange", openNamed);
    openNamed();
  } catch (error) {
    $("trouble").textContent = "The document cannot be shown: " + error.message;
  }
}

begin();
