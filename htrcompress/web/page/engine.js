// Reads pictures with the server that this page comes from. In a folder built by export/web the browser reads instead.

export const where = "Images go to the htrcompress server on this computer, and are not kept.";

async function answer(response) {
  const found = await response.json();
  if (!response.ok) throw new Error(found.error);
  return found;
}

async function ask(...request) {
  try {
    return await fetch(...request);
  } catch {
    throw new Error("The server does not answer: start it again with python -m htrcompress.web.");
  }
}

/** The models: [{name}], the default first. */
export async function models() {
  return answer(await ask("models"));
}

/** What a model reads in an image file: {text, score, hint, milliseconds, characters: [{text, confidence}]}. */
export async function read(file, model) {
  const headers = { "Content-Type": file.type || "application/octet-stream" };
  return answer(await ask(`read?model=${encodeURIComponent(model)}`, { method: "POST", body: file, headers }));
}
