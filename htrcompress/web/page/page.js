// The page: takes image files, has them read by `engine.js`, and shows texts, doubtful characters and times.

import { models, read, where } from "./engine.js";

const MOST_BYTES = 16 * 2 ** 20;
const MOST_FILES = 200;
const DOUBTFUL = 0.9;
const VERY_DOUBTFUL = 0.5;

const [first, second, files, drop, lines, statusLine, copy, clear] = [
  "first", "second", "files", "drop", "lines", "status", "copy", "clear",
].map((id) => document.getElementById(id));

let queue = Promise.resolve();
let waiting = 0;
let generation = 0; // readings that arrive after a Clear are dropped

/** An element with a class and content: texts or other elements. */
function element(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

function say(sentence) {
  statusLine.textContent = sentence;
}

const percent = (value) => `${Math.floor(100 * value)} %`;

/** A space has no shape of its own. */
const visible = (character) => (character === " " ? "space" : character);

/** The text with its doubtful characters marked. */
function marked(reading) {
  const line = element("p", "text");
  line.dir = "auto";
  if (reading.characters.map(({ text }) => text).join("") !== reading.text) {
    line.append(reading.text); // characters are in the order of the page, which right-to-left text is not read in
    return line;
  }
  let plain = "";
  for (const { text, confidence } of reading.characters) {
    if (confidence >= DOUBTFUL) {
      plain += text;
      continue;
    }
    const mark = element("mark", confidence < VERY_DOUBTFUL ? "much" : "some", text);
    mark.title = `${visible(text)}: ${percent(confidence)}`;
    line.append(plain, mark);
    plain = "";
  }
  line.append(plain);
  return line;
}

/** Every character with its confidence, as a table that scrolls by itself. */
function table(characters) {
  const [above, below] = [element("tr"), element("tr")];
  above.append(Object.assign(element("th", "", "character"), { scope: "row" }));
  below.append(Object.assign(element("th", "", "confidence"), { scope: "row" }));
  for (const { text, confidence } of characters) {
    const grade = confidence >= DOUBTFUL ? "" : confidence < VERY_DOUBTFUL ? "much" : "some";
    above.append(element("td", "", visible(text)));
    below.append(element("td", "", grade ? element("mark", grade, percent(confidence)) : percent(confidence)));
  }
  const scroll = element("div", "scroll", element("table", "", element("tbody", "", above, below)));
  scroll.tabIndex = 0; // keys scroll it
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Confidence by character");
  return element("details", "", element("summary", "", "Confidence by character"), scroll);
}

function show(place, reading) {
  const parts = [reading.text ? marked(reading) : element("p", "hint", "Nothing was read in this image.")];
  const facts = [`${reading.milliseconds.toFixed(0)} ms`];
  const { characters } = reading;
  if (characters.length) {
    const least = characters.reduce((a, b) => (b.confidence < a.confidence ? b : a));
    const doubtful = characters.filter(({ confidence }) => confidence < DOUBTFUL).length;
    facts.push(`${doubtful} of ${characters.length} characters doubtful`);
    facts.push(`least sure: ${visible(least.text)}, ${percent(least.confidence)}`);
  }
  parts.push(element("p", "facts", facts.join(" · ")));
  if (reading.hint) parts.push(element("p", "hint", `Note: ${reading.hint}.`));
  if (characters.length) parts.push(table(characters));
  place.append(...parts);
}

/** A card for a file, with a place for each model's reading. */
function card(file, names) {
  const picture = element("img");
  picture.alt = `The line in ${file.name}`;
  picture.src = URL.createObjectURL(file);
  const caption = element("figcaption", "", file.name);
  picture.addEventListener("load", () => URL.revokeObjectURL(picture.src));
  picture.addEventListener("error", () => {
    URL.revokeObjectURL(picture.src);
    picture.remove();
    caption.append(" (this browser cannot show it)");
  });
  const places = names.map((name) => element("section", "", element("h3", "", name)));
  const item = element("li", "", element("figure", "", picture, caption), element("div", "readings", ...places));
  lines.append(item);
  return places;
}

/** Why a file is not read, in one sentence; empty if it is. */
function refusal(file) {
  if (file.size > MOST_BYTES) return `The image has ${(file.size / 2 ** 20).toFixed(1)} MiB; up to 16 MiB are read.`;
  if (!file.type.startsWith("image/")) return "This file is no image: choose PNG, JPEG, WebP or TIFF.";
  return "";
}

async function readInto(place, file, name, born) {
  try {
    const sentence = refusal(file);
    if (sentence) throw new Error(sentence);
    const reading = await read(file, name);
    if (born === generation) show(place, reading);
  } catch (error) {
    const told = element("p", "error", error.message);
    told.setAttribute("role", "alert");
    place.append(told);
  }
}

function report() {
  const count = lines.children.length;
  copy.disabled = clear.disabled = count === 0;
  if (waiting) say(`Reading, ${waiting} to go …`);
  else if (count) say(count === 1 ? "One image is done." : `All ${count} images are done.`);
}

function take(chosen) {
  const given = [...chosen].slice(0, MOST_FILES);
  if (!given.length) return;
  const names = [...new Set([first.value, second.value])].filter(Boolean);
  const born = generation;
  for (const file of given) {
    const places = card(file, names);
    waiting += 1;
    queue = queue.then(async () => {
      for (const [place, name] of places.map((place, at) => [place, names[at]])) {
        if (born === generation) await readInto(place, file, name, born);
      }
      if (born === generation) {
        waiting -= 1;
        report();
      }
    });
  }
  report();
  if (chosen.length > MOST_FILES) say(`The first ${MOST_FILES} images are read.`);
}

function listen() {
  files.addEventListener("change", () => {
    take(files.files);
    files.value = ""; // the same file can be chosen again
  });
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
  copy.addEventListener("click", async () => {
    const texts = [...lines.querySelectorAll(".readings > :first-child")];
    const found = texts.map((place) => place.querySelector(".text")?.textContent ?? "");
    try {
      await navigator.clipboard.writeText(`${found.join("\n")}\n`);
      say("The texts are in the clipboard.");
    } catch {
      say("This browser does not let a page write to the clipboard.");
    }
  });
  clear.addEventListener("click", () => {
    generation += 1;
    waiting = 0;
    queue = Promise.resolve();
    lines.replaceChildren();
    report();
    say("Cleared.");
    files.focus();
  });
}

async function start() {
  document.getElementById("where").textContent = where;
  try {
    const found = await models();
    for (const { name } of found) {
      first.append(new Option(name, name));
      second.append(new Option(name, name));
    }
    second.prepend(new Option("no other", "", true, true));
    listen();
    document.body.dataset.ready = "yes";
  } catch (error) {
    say(error.message);
    files.disabled = true;
  }
}

start();
