// From an image file to a line as the network takes it: grey, of the model's height. It repeats htrcompress/grey.py,
// image.py and runtime/pictures.py to the bit, so that a PNG reads as it does in Python; sums stay below 2^53, where
// numbers are exact.

const MOST_PIXELS = 2 ** 25;
const LONGEST_SIDE = 16384; // what canvases of all browsers take

/** The pixels of an image file as the browser decodes it, turned by its EXIF orientation: RGBA bytes. */
async function decoded(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error("This browser cannot read the image: save it as PNG or JPEG.");
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS || Math.max(width, height) > LONGEST_SIDE) {
    throw new Error(`The image has ${width}x${height} pixels, more than are read here: scale it down.`);
  }
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/** Grey levels as Pillow computes them; transparent pixels become paper. */
export function toGrey({ data, width, height }) {
  const grey = new Uint8Array(width * height);
  let transparent = false;
  for (let at = 0, from = 0; at < grey.length; at += 1, from += 4) {
    grey[at] = (data[from] * 19595 + data[from + 1] * 38470 + data[from + 2] * 7471 + 0x8000) >> 16;
    transparent ||= data[from + 3] < 255;
  }
  return { grey: transparent ? onPaper(grey, data) : grey, width, height };
}

/** Lays a cut-out line on its own paper; ink alone is laid on white. */
function onPaper(grey, data) {
  const counts = new Float64Array(256);
  let shown = 0;
  let sum = 0;
  for (let at = 0; at < grey.length; at += 1) {
    if (data[4 * at + 3] > 127) {
      counts[grey[at]] += 1;
      shown += 1;
      sum += grey[at];
    }
  }
  const ranked = (rank) => {
    let seen = 0;
    return counts.findIndex((count) => (seen += count) >= rank);
  };
  let paper = 255;
  if (shown) {
    const middle = (ranked(Math.floor((shown - 1) / 2) + 1) + ranked(Math.floor(shown / 2) + 1)) / 2;
    paper = Math.max(middle, sum / shown);
  }
  if (paper < 128) paper = 255;
  return grey.map((value, at) => {
    const share = data[4 * at + 3] / 255;
    return Math.floor(value * share + paper * (1 - share) + 0.5);
  });
}

/** Sums over n equal intervals of m rows of `width` values, in units of 1/n of a row: m x width to n x width. */
function areaSums(values, m, width, n) {
  const sums = new Float64Array(n * width);
  for (let row = 0; row < n; row += 1) {
    const start = row * m;
    const end = start + m; // in units of 1/n of an input row
    for (let from = Math.floor(start / n); from * n < end; from += 1) {
      const weight = Math.min(end, (from + 1) * n) - Math.max(start, from * n);
      for (let at = 0; at < width; at += 1) sums[row * width + at] += weight * values[from * width + at];
    }
  }
  return sums;
}

function transposed(values, rows, columns) {
  const turned = new values.constructor(values.length);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) turned[column * rows + row] = values[row * columns + column];
  }
  return turned;
}

/** Scales a grey line to a height with the integer area filter; refuses lines that are too wide for the model. */
export function toHeight({ grey, width: w, height: h }, height, mostWidth) {
  const width = Math.max(1, Math.floor((2 * w * height + h) / (2 * h)));
  if (width > mostWidth) {
    throw new Error(`The image is ${width} pixels wide at height ${height}; the model reads up to ${mostWidth}: split it.`);
  }
  if (h === height && w === width) return { grey, width, height };
  const rows = areaSums(grey, h, w, height);
  const sums = areaSums(transposed(rows, height, w), w, height, width);
  const area = h * w;
  const scaled = Uint8Array.from(sums, (sum) => Math.floor((sum + Math.floor(area / 2)) / area));
  return { grey: transposed(scaled, width, height), width, height };
}

/** Whether a line shows light ink on dark paper: most of its pixels, and of its edge, are dark. */
export function isLightOnDark({ grey, width, height }) {
  const [sample, edge] = [[], []];
  for (let row = 0; row < height; row += 3) {
    for (let column = 0; column < width; column += 3) sample.push(grey[row * width + column]);
  }
  for (const row of [0, height - 1]) {
    for (let column = 0; column < width; column += 3) edge.push(grey[row * width + column]);
  }
  const ordered = Uint8Array.from(sample).sort();
  const rank = Math.floor(sample.length / 50); // a few pixels may be dirt
  const [low, high] = [ordered[rank], ordered[ordered.length - 1 - rank]];
  const share = (values) => values.filter((value) => value < (low + high) / 2).length / values.length;
  return high - low >= 40 && share(sample) > 0.6 && share(edge) > 0.6;
}

/** An image file as a line for a model: {grey, width, height}. */
export async function line(file, { height, max_width: mostWidth }) {
  return toHeight(toGrey(await decoded(file)), height, mostWidth);
}
