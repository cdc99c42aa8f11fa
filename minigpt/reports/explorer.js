// Shows one document at a time of the data that explorer_data.py packs.
// A token is a position in the document that is shown; a word is an entry of the vocabulary.

const LOSSES = [0.1, 0.5, 1, 2, 3, 5, 7, 10]; // where a loss's next colour begins, in nats
const DIFFERENCES = [-2, -1, -0.5, -0.1, 0.1, 0.5, 1, 2];
const NOT_SCORED = 65535, LARGEST = 65534;
const SPANS_SHOWN = 100, LOOKED_AT = 5;

const $ = id => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// ---------------------------------------------------------------------------- data

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const types = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array };
  for (const [name, [type, offset, size]] of Object.entries(head.arrays)) {
    head[name] = new types[type](buffer, 4 + length + offset, size);
  }
  return head;
}

const begins = doc => (doc ? data.ends[doc - 1] : 0);
const lengthOf = doc => data.ends[doc] - begins(doc);

function bytesOf(word) {
  return data.words.subarray(word ? data.wordEnds[word - 1] : 0, data.wordEnds[word]);
}

/** Text as it can be seen: line ends, tabs and other characters without a shape. */
function visible(text) {
  return text
    .replace(/\n/g, "↵\n").replace(/\t/g, "→\t")
    .replace(/[\0-\x08\v-\x1f]/g, c => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g,
      c => `[U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
}

/** A word by itself; a part of a character as its bytes. */
function wordText(word) {
  if (word in data.notText) return `[${data.notText[word]}]`;
  try {
    return visible(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytesOf(word)));
  } catch {
    return "0x" + [...bytesOf(word)].map(byte => byte.toString(16).padStart(2, "0")).join(" ");
  }
}

/** The text of each token; a character of several tokens stands in the last of them. */
function tokenTexts(doc) {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return Array.from(data.ids.subarray(begins(doc), data.ends[doc]), word =>
    word in data.notText ? wordText(word) : visible(decoder.decode(bytesOf(word), { stream: true })) || "·");
}

const isScored = at => data.rank0[at] !== NOT_SCORED;
const nats = (run, at) => data[`nats${run}`][at] / 1000;

function meanLoss(run, doc) {
  let sum = 0, count = 0;
  for (let at = begins(doc); at < data.ends[doc]; at++) {
    if (isScored(at)) { sum += nats(run, at); count++; }
  }
  return sum / count;
}

function spansOf(run) {
  const flat = data[`spans${run}`];
  return Array.from({ length: flat.length / 3 }, (_, i) =>
    ({ doc: flat[3 * i], start: flat[3 * i + 1], tokens: flat[3 * i + 2] }));
}

/** Number of a document -> where its attention begins, and of how many positions it is. */
function mapsOf(run) {
  const { blocks, heads } = data.runs[run], flat = data[`mapped${run}`], maps = new Map();
  for (let i = 0, offset = 0; i < flat.length; i += 2) {
    const size = flat[i + 1];
    maps.set(flat[i], { offset, size });
    offset += blocks * heads * size * (size + 1) / 2;
  }
  return maps;
}

// ---------------------------------------------------------------------------- words and numbers

function percent(p) {
  if (p >= 0.9995) return (100 * p).toFixed(2) + "%";
  return p < 0.0001 ? "<0.01%" : (p >= 0.1 ? (100 * p).toFixed(1) : Number((100 * p).toPrecision(2))) + "%";
}

const signed = value => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
const letter = run => (isPair ? "AB"[run] : "");
const runTitle = run => (isPair ? `${letter(run)}: ` : "") + data.runs[run].name;
const bin = (value, edges) => edges.filter(edge => value >= edge).length;

function choiceName(rank) {
  if (rank === 0) return "its first choice";
  if (rank === LARGEST) return `beyond its ${LARGEST.toLocaleString("en")}th choice`;
  const n = rank + 1, tens = n % 100;
  const ending = tens > 10 && tens < 14 ? "th" : ["th", "st", "nd", "rd"][n % 10] ?? "th";
  return `its ${n.toLocaleString("en")}${ending} choice`;
}

function description(at) {
  if (!isScored(at)) return "not scored: nothing stands before it";
  const runs = data.runs.map((_, run) =>
    `${letter(run)} ${nats(run, at).toFixed(2)} nats, ${choiceName(data[`rank${run}`][at])}`.trim());
  if (isPair) runs.push(`difference ${signed(nats(1, at) - nats(0, at))}`);
  return runs.join("; ");
}

// ---------------------------------------------------------------------------- documents

function orders() {
  const last = data.runs.length - 1;
  const longest = losses.map(() => 0);
  data.runs.forEach((_, run) => spansOf(run).forEach(span => {
    longest[span.doc] = Math.max(longest[span.doc], span.tokens);
  }));
  const change = doc => losses[doc][1] - losses[doc][0];
  const all = {
    [isPair ? "highest loss of B" : "highest loss"]: doc => -losses[doc][last],
    [isPair ? "lowest loss of B" : "lowest loss"]: doc => losses[doc][last],
    ...(isPair && {
      "most improved from A to B": change,
      "most worsened from A to B": doc => -change(doc),
      "highest loss of A": doc => -losses[doc][0],
    }),
    "longest span known by heart": doc => -longest[doc],
    "attention kept": doc => (maps[0].has(doc) ? 0 : 1),
    "as in the corpus": doc => doc,
    "name": doc => data.names[doc],
  };
  return all;
}

function listDocuments() {
  const key = orderBy[$("order").value], wanted = $("filter").value.toLowerCase();
  const keys = new Map(data.names.map((_, doc) => [doc, key(doc)]));
  listed = [...keys.keys()]
    .filter(doc => ["all", data.splits[doc]].includes($("split").value))
    .filter(doc => data.names[doc].toLowerCase().includes(wanted))
    .sort((a, b) => (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : a - b));
  $("list").replaceChildren(...listed.map(listItem));
  const only = listed.length < data.names.length ? ` of ${data.names.length.toLocaleString("en")}` : "";
  const columns = isPair ? "loss of A, of B, and B − A" : "loss in nats a token";
  $("count").textContent = `${listed.length.toLocaleString("en")}${only} documents; ${columns}`;
  markListed();
}

function listItem(doc) {
  const figures = losses[doc].map(loss => loss.toFixed(2));
  if (isPair) figures.push(signed(losses[doc][1] - losses[doc][0]));
  return element("li", { id: `document-${doc}`, role: "option", title: data.names[doc] },
    element("span", { className: "name" }, element("bdi", {}, data.names[doc])),
    ...figures.map(figure => element("span", {}, figure)));
}

function markListed() {
  for (const item of $("list").querySelectorAll("[aria-selected=true]")) item.ariaSelected = "false";
  const item = $(`document-${shown}`);
  if (item === null) { $("list").removeAttribute("aria-activedescendant"); return; }
  item.ariaSelected = "true";
  $("list").setAttribute("aria-activedescendant", item.id);
  const list = $("list"), top = item.offsetTop;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + item.offsetHeight > list.scrollTop + list.clientHeight) {
    list.scrollTop = top + item.offsetHeight - list.clientHeight;
  }
}

function moveInList(event) {
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -Infinity, End: Infinity };
  if (!(event.key in steps) || !listed.length) return;
  event.preventDefault();
  const to = listed.indexOf(shown) + steps[event.key];
  showDocument(listed[Math.min(Math.max(to, 0), listed.length - 1)]);
}

// ---------------------------------------------------------------------------- text

function showDocument(doc, token = data.scoresFirst || lengthOf(doc) < 2 ? 0 : 1) {
  shown = doc;
  texts = tokenTexts(doc);
  const total = data.documentTokens[doc], length = lengthOf(doc);
  $("name").textContent = data.names[doc];
  $("facts").textContent = [
    `${data.domains[doc]}, ${data.splits[doc]}`,
    length < total ? `the first ${length} of ${total.toLocaleString("en")} tokens` : `all ${length} tokens`,
    ...losses[doc].map((loss, run) => `loss ${letter(run)} ${loss.toFixed(2)}`.replace("  ", " ")),
  ].join("; ");
  for (const pane of panes) fillPane(pane);
  markListed();
  fillAttention();
  moveCursor(token, null);
}

function fillPane(pane) {
  const known = new Set();
  if (pane.run !== undefined) {
    for (const span of spans[pane.run].filter(span => span.doc === shown)) {
      for (let i = 0; i < span.tokens; i++) known.add(span.start + i);
    }
  }
  pane.text.setAttribute("aria-label", `${data.names[shown]}, ${pane.label}`);
  pane.text.replaceChildren(...texts.map((text, token) => {
    const at = begins(shown) + token;
    const colour = isScored(at) ? pane.colour(at) : "none";
    return tokenElement(text, token, `t ${colour}${known.has(token) ? " known" : ""}`);
  }));
  pane.text.scrollTop = 0;
}

function tokenElement(text, token, className) {
  const at = begins(shown) + token;
  return element("span", { className, role: "option", tabIndex: -1,
    ariaLabel: `${wordText(data.ids[at])}: ${description(at)}` }, text);
}

/** Makes a token the one that details, attention and every pane show; focuses it in a pane. */
function moveCursor(token, pane) {
  for (const { text } of allPanes()) {
    const old = text.querySelector("[tabindex='0']");
    if (old) { old.tabIndex = -1; old.ariaSelected = "false"; }
    const now = text.children[token];
    if (now) { now.tabIndex = 0; now.ariaSelected = "true"; }
  }
  cursor = token;
  pane?.text.children[token]?.focus({ preventScroll: false });
  point(token);
}

/** Shows a token's details without moving the cursor. */
function point(token) {
  if (token === pointed && shownPoint === shown) return;
  [pointed, shownPoint] = [token, shown];
  for (const { text } of allPanes()) {
    text.querySelector(".at")?.classList.remove("at");
    text.children[token]?.classList.add("at");
  }
  showDetails(token);
  shadeAttention();
}

const allPanes = () => (strip ? [...panes, strip] : panes);

function listenToPane(pane) {
  const tokenOf = event => [...pane.text.children].indexOf(event.target.closest?.(".t"));
  pane.text.addEventListener("pointerover", event => {
    if (event.pointerType !== "touch" && tokenOf(event) >= 0) point(tokenOf(event));
  });
  pane.text.addEventListener("pointerleave", () => point(cursor));
  pane.text.addEventListener("click", event => {
    if (tokenOf(event) >= 0) moveCursor(tokenOf(event), pane);
  });
  pane.text.addEventListener("keydown", event => {
    const last = pane.text.children.length - 1;
    const to = {
      ArrowRight: cursor + 1, ArrowLeft: cursor - 1, Home: 0, End: last,
      ArrowDown: nextLine(pane, 1), ArrowUp: nextLine(pane, -1),
    }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    moveCursor(Math.min(Math.max(to, 0), last), pane);
  });
}

/** The token nearest above (-1) or below (1) the cursor. */
function nextLine(pane, direction) {
  const tokens = pane.text.children, box = token => tokens[token].getClientRects()[0];
  const from = box(cursor);
  let line = null, best = cursor;
  for (let token = cursor + direction; tokens[token]; token += direction) {
    const { top, left } = box(token);
    if ((top - from.top) * direction < from.height / 2) continue;
    line ??= top;
    if (Math.abs(top - line) > from.height / 2) break;
    if (best === cursor || Math.abs(left - from.left) < Math.abs(box(best).left - from.left)) best = token;
  }
  return best;
}

function makePanes() {
  const made = data.runs.map((_, run) => ({
    run, title: letter(run), checkbox: runTitle(run), label: `coloured by the loss of ${runTitle(run)}`,
    colour: at => "l" + bin(nats(run, at), LOSSES),
  }));
  if (isPair) {
    made.push({ title: "B − A", checkbox: "B − A", label: "coloured by the difference of the losses, B − A",
      colour: at => "d" + bin(nats(1, at) - nats(0, at), DIFFERENCES) });
  }
  for (const pane of made) {
    pane.text = element("div", { className: "text", role: "listbox" });
    pane.text.setAttribute("aria-orientation", "horizontal");
    pane.box = element("div", { className: "pane" },
      ...(isPair ? [element("h3", {}, pane.title)] : []), pane.text);
    listenToPane(pane);
    $("panes").append(pane.box);
    if (!isPair) continue;
    const box = element("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => { pane.box.hidden = !box.checked; });
    $("views").append(element("label", {}, box, ` ${pane.checkbox}`));
  }
  $("legends").append(legend("Loss in nats", "l", LOSSES));
  if (isPair) $("legends").append(legend("B − A; blue: B is better, orange: A is", "d", DIFFERENCES));
  return made;
}

function legend(title, prefix, edges) {
  const number = value => String(value).replace("-", "−");
  const names = [`< ${number(edges[0])}`, ...edges.slice(0, -1).map((edge, i) => `${number(edge)} to ${number(edges[i + 1])}`),
    `≥ ${number(edges.at(-1))}`];
  return element("div", { className: "legend" }, element("b", {}, title),
    ...names.map((name, i) => element("span", { className: prefix + i }, name)));
}

// ---------------------------------------------------------------------------- details

function showDetails(token) {
  const at = begins(shown) + token, word = data.ids[at];
  const parts = [element("h2", {}, element("code", {}, wordText(word))),
    element("p", { className: "note" }, `token ${token + 1} of ${lengthOf(shown)}`)];
  if (!isScored(at)) parts.push(element("p", {}, "Not scored: nothing stands before it."));
  else {
    if (isPair) {
      const difference = nats(1, at) - nats(0, at);
      parts.push(element("p", {}, `B − A: ${signed(difference)} nats`));
    }
    parts.push(element("div", { className: "runs" }, ...data.runs.map((_, run) => runDetails(run, at, word))));
  }
  $("token").replaceChildren(...parts);
}

function runDetails(run, at, word) {
  const loss = nats(run, at), own = Math.exp(-loss), choices = [];
  for (let i = at * data.choices; i < (at + 1) * data.choices; i++) {
    const choice = data[`alternatives${run}`][i];
    choices.push([choice, choice === word ? own : data[`probabilities${run}`][i] / LARGEST]);
  }
  if (!choices.some(([choice]) => choice === word)) choices.push([word, own]);
  return element("div", {},
    ...(isPair ? [element("h3", {}, letter(run))] : []),
    element("p", {}, element("b", {}, `${loss.toFixed(2)} nats`), `, ${percent(own)}, ${choiceName(data[`rank${run}`][at])}`),
    element("ol", { className: "choices", ariaLabel: "its choices" }, ...choices.map(([choice, p]) => {
      const item = element("li", { className: choice === word ? "this" : "" },
        element("span", {}, percent(p)),
        element("span", {}, element("code", {}, wordText(choice)), choice === word ? " ← in the text" : ""));
      item.style.setProperty("--p", p);
      return item;
    })));
}

// ---------------------------------------------------------------------------- attention

/** The position of the first token: after the start of the document, where that is read. */
const firstPosition = () => (data.scoresFirst ? 1 : 0);

/** Weights of a query's position to itself and all before it. */
function weightsOf(map, block, head, position) {
  const { heads } = data.runs[map.run], triangle = map.size * (map.size + 1) / 2;
  const start = map.offset + (block * heads + head) * triangle + position * (position + 1) / 2;
  return data[`attention${map.run}`].subarray(start, start + position + 1);
}

function choiceOf(label, options, onChange) {
  const select = element("select", {}, ...options.map((text, i) => new Option(text, i)));
  select.addEventListener("change", onChange);
  $("attention-controls").append(element("label", {}, `${label} `, select));
  return select;
}

function makeAttention() {
  const blocks = run => Array.from({ length: data.runs[run].blocks }, (_, i) => String(i + 1));
  const byRun = isPair ? choiceOf("Run", data.runs.map((_, run) => runTitle(run)), () => {
    byBlock.replaceChildren(...blocks(Number(byRun.value)).map((text, i) => new Option(text, i)));
    head = 0;
    fillAttention();
  }) : { value: 0 };
  const byBlock = choiceOf("Block", blocks(0), () => fillAttention());
  attentionChoice = () => ({ run: Number(byRun.value), block: Number(byBlock.value) });
}

function fillAttention() {
  const { run, block } = attentionChoice();
  const kept = maps[run].get(shown), body = $("attention-body");
  strip = null;
  if (!kept) {
    const next = listed.find(doc => maps[run].has(doc)) ?? [...maps[run].keys()][0];
    const button = element("button", { type: "button" }, `Show ${data.names[next]}`);
    button.addEventListener("click", () => showDocument(next));
    body.replaceChildren(element("p", {},
      `Attention is kept for ${maps[run].size} documents; order the list by “attention kept” to find them. `, button));
    return;
  }
  const map = { run, ...kept };
  head = Math.min(head, data.runs[run].heads - 1);
  const buttons = Array.from({ length: data.runs[run].heads }, (_, i) => {
    const button = element("button", { type: "button" }, drawn(map, block, i), `head ${i + 1}`);
    button.addEventListener("click", () => {
      head = i;
      buttons.forEach((other, j) => { other.ariaPressed = String(j === i); });
      shadeAttention();
    });
    button.ariaPressed = String(i === head);
    return button;
  });
  const said = element("p", { id: "looks-at", role: "status" });
  const text = element("div", { className: "text", role: "listbox",
    ariaLabel: "Text, shaded by attention" });
  // The last position is read to predict the token after it.
  text.append(...texts.slice(0, map.size + 1 - firstPosition()).map((string, token) => tokenElement(string, token, "t w")));
  strip = { text, map, block, said };
  listenToPane(strip);
  body.replaceChildren(
    element("p", { className: "note" },
      `The first ${map.size} positions${data.scoresFirst ? ", the start of the document among them" : ""}. ` +
      "Each picture has a row for every position that reads and a column for every position that it reads from; stronger colour is more. Choose a head to see in the text below, relative to its largest weight, what it reads to predict the token that you point at."),
    element("div", { className: "heads" }, ...buttons), said, text);
  shadeAttention();
}

function drawn(map, block, head) {
  const canvas = element("canvas", { width: map.size, height: map.size });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `attention of head ${head + 1}`);
  const context = canvas.getContext("2d"), image = context.createImageData(map.size, map.size);
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--attention").trim().split(" ").map(Number);
  for (let row = 0; row < map.size; row++) {
    weightsOf(map, block, head, row).forEach((weight, column) => {
      image.data.set([...ink, 255 * Math.cbrt(weight / 255)], 4 * (row * map.size + column));
    });
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Shades the text by what the chosen head reads to predict the token that is shown. */
function shadeAttention() {
  if (!strip) return;
  const first = firstPosition();
  const position = pointed + first - 1;
  const isKept = position >= 0 && position < strip.map.size;
  const weights = isKept ? Array.from(weightsOf(strip.map, strip.block, head, position), w => w / 255) : [];
  const largest = Math.max(...weights.slice(first), 1 / 255);
  Array.from(strip.text.children).forEach((item, token) => {
    item.style.setProperty("--w", (weights[token + first] ?? 0) / largest);
  });
  if (!isKept) {
    strip.said.textContent = pointed ? "The token lies beyond what is kept." : "Nothing stands before this token.";
    return;
  }
  const names = weights.map((weight, i) => [weight, i < first ? "the start of the document" : `“${wordText(data.ids[begins(shown) + i - first])}” (token ${i - first + 1})`]);
  names.sort((a, b) => b[0] - a[0]);
  const most = names.slice(0, LOOKED_AT).map(([weight, name]) => `${percent(weight)} ${name}`);
  strip.said.textContent = `To predict “${wordText(data.ids[begins(shown) + pointed])}” (token ${pointed + 1}), head ${head + 1} of block ${strip.block + 1} reads ${most.join(", ")}.`;
}

// ---------------------------------------------------------------------------- spans

function listSpans() {
  $("spans-body").replaceChildren(...data.runs.flatMap((_, run) => {
    const longest = spans[run].toSorted((a, b) => b.tokens - a.tokens).slice(0, SPANS_SHOWN);
    const count = spans[run].length.toLocaleString("en");
    const sentence = longest.length
      ? `${count} spans of ${data.shortestSpan} or more tokens${longest.length < spans[run].length ? `; the ${SPANS_SHOWN} longest` : ""}:`
      : `No ${data.shortestSpan} tokens in a row are all its first choice.`;
    return [
      ...(isPair ? [element("h3", {}, runTitle(run))] : []),
      element("p", {}, sentence),
      element("ol", {}, ...longest.map(spanItem)),
    ];
  }));
}

function spanItem(span) {
  const button = element("button", { type: "button" },
    `${span.tokens} tokens from token ${span.start + 1} of ${data.names[span.doc]} (${data.splits[span.doc]})`);
  button.addEventListener("click", () => {
    if (!listed.includes(span.doc)) {
      $("filter").value = "";
      $("split").value = data.splits[span.doc];
      listDocuments();
    }
    showDocument(span.doc, span.start);
    $("name").scrollIntoView();
    panes[0].text.children[span.start].focus();
  });
  const words = tokenTexts(span.doc).slice(span.start, span.start + span.tokens);
  return element("li", {}, button, element("code", {}, words.join("")));
}

// ---------------------------------------------------------------------------- the page

let data, isPair, losses, spans, maps, orderBy, panes, attentionChoice;
let listed = [], shown = 0, texts = [], cursor = 0, pointed = -1, shownPoint = -1, head = 0, strip = null;

function build() {
  isPair = data.runs.length === 2;
  document.body.classList.toggle("pair", isPair);
  losses = data.names.map((_, doc) => data.runs.map((_, run) => meanLoss(run, doc)));
  spans = data.runs.map((_, run) => spansOf(run));
  maps = data.runs.map((_, run) => mapsOf(run));
  orderBy = orders();
  for (const name of Object.keys(orderBy)) $("order").add(new Option(name));
  const splits = [...new Set(data.splits)];
  for (const name of splits) $("split").add(new Option(name));
  if (splits.length > 1) $("split").add(new Option("all"));
  $("order").addEventListener("change", listDocuments);
  $("split").addEventListener("change", listDocuments);
  $("filter").addEventListener("input", listDocuments);
  $("list").addEventListener("keydown", moveInList);
  $("list").addEventListener("click", event => {
    const item = event.target.closest("li");
    if (item) showDocument(Number(item.id.slice("document-".length)));
  });
  panes = makePanes();
  makeAttention();
  for (const id of ["attention", "spans"]) $(id).hidden = false;
  document.querySelector("main").hidden = false;
  shown = -1;
  listDocuments();
  showDocument(listed[0]);
  listSpans();
}

try {
  data = await unpacked($("data").textContent);
  build();
} catch (error) {
  $("failure").hidden = false;
  $("failure").textContent = `This page cannot be shown: ${error.message}. It needs a browser of 2023 or later.`;
  throw error;
}
