// The section "Move it": sliders move latents, and a canvas shows what is decoded of them.
const content = JSON.parse(document.getElementById("moving-content").textContent);
const { side, channels, codes, sliders, strips } = content;
const section = document.querySelector(".move");
const bases = [...section.querySelectorAll("[name=base]")];
const inputs = [...section.querySelectorAll("[type=range]")];
const values = [...section.querySelectorAll(".value")];
const original = section.querySelector(".shown img");
const failure = section.querySelector(".failure");
const canvas = section.querySelector("canvas");
const context = canvas.getContext("2d");

let base = 0;
let code = [];
let moved = -1; // The slider that moved last; -1 while the image stands as it was encoded.

// --- Decoding in the page -----------------------------------------------------------------------

// A layer's weights are whole numbers, in the order [y, x, outputs / 4, inputs, 4].
function unpack({ bits, layers, weights }) {
  const bytes = Uint8Array.from(atob(weights), (character) => character.charCodeAt(0));
  const whole = bits === 8 ? new Int8Array(bytes.buffer) : new Int16Array(bytes.buffer);
  let start = 0;
  return layers.map((layer) => {
    const end = start + layer.inputs * layer.outputs * layer.kernel ** 2;
    const weight = Float32Array.from(whole.subarray(start, end));
    start = end;
    return { ...layer, weight };
  });
}

// A transposed convolution of a square picture [y, x, inputs]. Each pixel of the output gathers its
// own sum, of four channels at a time, so that the sums stay in registers.
function transposedConvolution(layer, picture, length) {
  const { inputs, outputs, kernel, stride, padding, weight, scale, bias } = layer;
  const blocks = outputs / 4;
  const size = (length - 1) * stride + kernel - 2 * padding;
  const result = new Float32Array(size * size * outputs);
  let out = 0;
  for (let y = padding; y < size + padding; y++) {
    for (let x = padding; x < size + padding; x++) {
      for (let block = 0; block < blocks; block++, out += 4) {
        let a = 0, b = 0, c = 0, d = 0;
        for (let ky = y % stride; ky < kernel; ky += stride) {
          const row = (y - ky) / stride;
          if (row < 0 || row >= length) continue;
          for (let kx = x % stride; kx < kernel; kx += stride) {
            const column = (x - kx) / stride;
            if (column < 0 || column >= length) continue;
            let at = (row * length + column) * inputs;
            let w = ((ky * kernel + kx) * blocks + block) * inputs * 4;
            for (const end = at + inputs; at < end; at++, w += 4) {
              const value = picture[at];
              if (value === 0) continue; // As half of them are, behind a ReLU.
              a += value * weight[w];
              b += value * weight[w + 1];
              c += value * weight[w + 2];
              d += value * weight[w + 3];
            }
          }
        }
        const first = 4 * block;
        result[out] = a * scale[first] + bias[first];
        result[out + 1] = b * scale[first + 1] + bias[first + 1];
        result[out + 2] = c * scale[first + 2] + bias[first + 2];
        result[out + 3] = d * scale[first + 3] + bias[first + 3];
      }
    }
  }
  return [result, size];
}

// The pixels in [0, 255], [y, x, channels], of latents.
function decode(layers, latents) {
  let picture = new Float32Array(layers[0].inputs);
  picture.set(latents);
  let size = 1;
  layers.forEach((layer, number) => {
    if (number) picture = picture.map((value) => Math.max(value, 0));
    [picture, size] = transposedConvolution(layer, picture, size);
  });
  // Channels were filled up to a multiple of four.
  const filled = layers.at(-1).outputs;
  const pixels = new Uint8ClampedArray(size * size * channels);
  for (let at = 0; at < pixels.length; at++) {
    const logit = picture[Math.floor(at / channels) * filled + (at % channels)];
    pixels[at] = 255 / (1 + Math.exp(-logit));
  }
  return pixels;
}

// --- Showing ------------------------------------------------------------------------------------

function draw(pixels) {
  const picture = context.createImageData(side, side);
  for (let at = 0; at < side * side; at++) {
    for (let channel = 0; channel < 3; channel++) {
      picture.data[4 * at + channel] = pixels[at * channels + (channels === 1 ? 0 : channel)];
    }
    picture.data[4 * at + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
}

async function ask() {
  const request = { method: "POST", body: Float32Array.from(code) };
  const answer = await fetch("decode", request).catch(() => {
    throw new Error("python -m evaluator.explore has ended");
  });
  if (!answer.ok) throw new Error(await answer.text());
  return new Uint8Array(await answer.arrayBuffer());
}

async function drawn() {
  const strip = new Image();
  strip.src = strips[base];
  await strip.decode();
  const places = Number(inputs[0].max) + 1;
  const row = moved < 0 ? 0 : 1 + moved * places + Number(inputs[moved].value);
  context.drawImage(strip, 0, row * side, side, side, 0, 0, side, side);
}

const layers = content.decoder && unpack(content.decoder);
async function show() {
  if (strips) await drawn();
  else draw(layers ? decode(layers, code) : await ask());
}

// While a slider is dragged, pictures that nobody would see are left out.
let wanted = false;
async function refresh() {
  wanted = true;
  if (canvas.ariaBusy === "true") return;
  canvas.ariaBusy = "true";
  while (wanted) {
    await new Promise(requestAnimationFrame);
    wanted = false;
    try {
      await show();
      failure.textContent = "";
    } catch (error) {
      failure.textContent = `No picture: ${error.message}`;
    }
  }
  canvas.ariaBusy = "false";
}

// --- Moving -------------------------------------------------------------------------------------

function write(number, value) {
  const text = (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(2);
  values[number].textContent = text;
  inputs[number].setAttribute("aria-valuetext", text);
}

function start() {
  base = bases.findIndex((one) => one.checked);
  moved = -1;
  code = [...codes[base]];
  original.src = bases[base].nextElementSibling.src;
  sliders.forEach(({ latent, low, high }, number) => {
    inputs[number].value = ((code[latent] - low) / (high - low || 1)) * inputs[number].max;
    write(number, code[latent]);
  });
  refresh();
}

function move(number) {
  const place = inputs[number].value;
  // Of pictures drawn beforehand there is none of two latents moved.
  if (strips && moved !== number) start();
  inputs[number].value = place;
  const { latent, low, high } = sliders[number];
  code[latent] = low + ((high - low) * place) / inputs[number].max;
  moved = number;
  write(number, code[latent]);
  refresh();
}

bases.forEach((one) => one.addEventListener("change", start));
inputs.forEach((one, number) => one.addEventListener("input", () => move(number)));
section.querySelector("button").addEventListener("click", start);
section.querySelector(".controls").hidden = false;
start();
