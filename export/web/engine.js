// Reads pictures in the browser: onnxruntime-web runs the exported graph, which has normalisation and decoding inside.

import { isLightOnDark, line } from "./picture.js";

export const where = "Images are read in this browser and do not leave it.";

const HINT = "it looks like light ink on dark paper, which reads as nonsense";

// The smallest module with an instruction of WebAssembly SIMD: (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt).
const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
];

let runtime; // the module, loaded when the first model is
const shelf = new Map(); // name to entry, with its session once it has read

function check() {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(new Uint8Array(SIMD))) {
    throw new Error("This browser has no WebAssembly SIMD, which reading needs: use a current Firefox, Chrome, Edge or Safari.");
  }
}

async function fetched(path) {
  let response;
  try {
    response = await fetch(path);
  } catch {
    throw new Error(`${path} cannot be loaded: put the folder onto a web server, such as python -m http.server.`);
  }
  if (!response.ok) throw new Error(`${path} cannot be loaded: the folder was built without it.`);
  return response;
}

/** The models of this folder: [{name}], the default first. */
export async function models() {
  check();
  for (const entry of await (await fetched("models.json")).json()) shelf.set(entry.name, entry);
  return [...shelf.values()];
}

async function opened(entry) {
  if (!runtime) {
    runtime = await import("./ort/ort.wasm.min.mjs");
    runtime.env.wasm.numThreads = 1; // more need headers that a folder of files cannot set
    runtime.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
    runtime.env.logLevel = "error";
  }
  const model = await (await fetched(entry.file)).arrayBuffer();
  return runtime.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
}

/** The session of a model, opened once for all images that wait for it; where that fails, the next image tries again. */
function session(entry) {
  entry.session ??= opened(entry).catch((error) => {
    entry.session = undefined;
    throw error;
  });
  return entry.session;
}

/** Each character that greedy decoding reads, with its largest probability in the frames that it has. */
function characters(logits, frames, classes, charset) {
  const found = [];
  let last = 0;
  for (let frame = 0; frame < frames; frame += 1) {
    const row = logits.subarray(frame * classes, (frame + 1) * classes);
    const best = row.indexOf(row.reduce((a, b) => Math.max(a, b)));
    const probability = 1 / row.reduce((sum, value) => sum + Math.exp(value - row[best]), 0);
    if (best && best === last) found.at(-1).confidence = Math.max(found.at(-1).confidence, probability);
    else if (best) found.push({ text: charset[best - 1], confidence: probability });
    last = best;
  }
  return found;
}

/** What a model reads in an image file: {text, score, hint, milliseconds, characters: [{text, confidence}]}. */
export async function read(file, model) {
  const entry = shelf.get(model);
  const network = await session(entry);
  const started = performance.now();
  const { grey, width, height } = await line(file, entry);
  const output = await network.run({
    pixels: new runtime.Tensor("uint8", grey, [1, 1, height, width]),
    widths: new runtime.Tensor("int32", [width], [1]),
  });
  const labels = output.labels.data.subarray(0, output.lengths.data[0]);
  const text = [...labels].map((label) => entry.charset[label - 1]).join("");
  const [, , classes] = output.logits.dims;
  const frames = Math.ceil(width / entry.stride);
  return {
    text,
    score: output.scores.data[0],
    hint: isLightOnDark({ grey, width, height }) ? HINT : "",
    milliseconds: performance.now() - started,
    characters: characters(output.logits.data, frames, classes, entry.charset),
  };
}
