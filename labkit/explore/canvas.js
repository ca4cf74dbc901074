// Pictures of an explorer with one cursor over all of them, columns that fit the window, and lines
// to copy. The kernel draws; messages: look and choose (x, y in 0-1) there, look and save back.
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const WIDEST = 640, NARROWEST = 170, GAP = 10; // pixels of a panel
const FLICKER = 700; // milliseconds of each picture: below three flashes a second
const HINT = "Point at a picture, or use the arrow keys on its cursor (with Shift: ten times as far).";

function element(tag, name, text) {
  const one = document.createElement(tag);
  one.className = name;
  if (text) one.textContent = text;
  return one;
}

function render({ model, el }) {
  const root = element("div", "labkit-canvas");
  root.dataset.lmSuppressShortcuts = "true"; // arrow keys would move JupyterLab's cells
  const view = element("div", ""), look = element("output", "labkit-look", HINT);
  const lines = element("div", "labkit-lines");
  root.append(view, lines);
  el.append(root);
  let point = model.get("point"), asked = null, waiting = false, shown = 50, flicker = 0;

  const marks = () => [...view.querySelectorAll(".labkit-mark")];

  function draw() {
    const focused = view.contains(document.activeElement);
    view.innerHTML = model.get("html");
    const grid = view.querySelector(".labkit-grid");
    grid?.before(look);
    for (const box of view.querySelectorAll(".labkit-pointable")) {
      const first = !view.querySelector("button.labkit-mark");
      const mark = element(first ? "button" : "span", "labkit-mark");
      if (first) {
        mark.type = "button";
        mark.setAttribute("aria-label", model.get("gesture"));
      }
      box.append(mark);
    }
    for (const over of view.querySelectorAll(".labkit-over")) swipe(over);
    place();
    fit();
    if (focused) view.querySelector("button.labkit-mark")?.focus({ preventScroll: true });
  }

  function swipe(over) { // a slider moves the line between two pictures, a button takes turns
    const row = element("div", "labkit-swipe"), range = element("input", "");
    Object.assign(range, { type: "range", min: 0, max: 100, value: shown });
    range.setAttribute("aria-label", "Line between A and B, percent");
    const button = element("button", "jupyter-button", flicker ? "Stop" : "Flicker");
    button.type = "button";
    const show = (percent) => { over.style.clipPath = `inset(0 0 0 ${percent}%)`; };
    const turn = () => {
      clearInterval(flicker);
      button.textContent = flicker ? "Flicker" : "Stop";
      let first = false;
      flicker = flicker ? 0 : setInterval(() => {
        first = !first;
        show(first ? 100 : 0);
      }, FLICKER);
      if (!flicker) show(shown);
    };
    if (flicker) { clearInterval(flicker); flicker = 0; turn(); }
    range.addEventListener("input", () => { shown = range.value; show(shown); });
    button.addEventListener("click", turn);
    row.append(range, button);
    over.closest("figure").append(row);
    show(shown);
  }

  function place() {
    for (const mark of marks()) {
      mark.style.left = `${100 * point[0]}%`;
      mark.style.top = `${100 * point[1]}%`;
    }
  }

  function drawLines() {
    lines.replaceChildren();
    for (const [name, line] of Object.entries(model.get("lines"))) {
      const row = element("div", "labkit-line");
      const button = element("button", "jupyter-button labkit-copy", "Copy");
      button.type = "button";
      button.setAttribute("aria-label", `Copy the line: ${name}`);
      button.addEventListener("click", () => copy(line, button));
      row.append(element("span", "", name), element("code", "", line), button);
      lines.append(row);
    }
  }

  async function copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.previousSibling);
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  // The largest panels with which the whole explorer fits the window.
  function fit() {
    const grid = view.querySelector(".labkit-grid");
    const width = root.clientWidth, count = grid?.childElementCount;
    if (!count || !width) return;
    const page = el.closest(".jp-WindowedPanel-outer, .jp-Notebook")?.clientHeight ?? innerHeight;
    const explorer = el.closest(".labkit-explorer") ?? root;
    const above = grid.getBoundingClientRect().top - explorer.getBoundingClientRect().top;
    const most = Math.max(1, Math.min(count, Math.floor((width + GAP) / (NARROWEST + GAP))));
    for (let columns = 1; columns <= most; columns++) {
      grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, ${WIDEST}px))`;
      if (above + grid.offsetHeight <= page - GAP) break;
    }
  }

  function ask() { // one question at a time: a kernel that draws answers late
    if (waiting || !asked || !model.get("gesture")) return;
    waiting = true;
    model.send({ kind: "look", x: asked[0], y: asked[1] });
    asked = null;
  }

  function move(x, y) {
    point = [Math.min(Math.max(x, 0), 0.9999), Math.min(Math.max(y, 0), 0.9999)];
    place();
    asked = point;
    ask();
  }

  function choose() { model.send({ kind: "choose", x: point[0], y: point[1] }); }

  function at(event) {
    const box = event.target.closest?.(".labkit-pointable");
    if (!box) return false;
    const { left, top, width, height } = box.getBoundingClientRect();
    move((event.clientX - left) / width, (event.clientY - top) / height);
    return true;
  }

  view.addEventListener("pointermove", at);
  view.addEventListener("click", (event) => {
    const pressed = event.detail === 0; // Enter or Space on the cursor
    if ((pressed && event.target.closest("button.labkit-mark")) || (!pressed && at(event))) choose();
  });
  view.addEventListener("keydown", (event) => {
    const step = event.target.closest("button.labkit-mark") && KEYS[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const size = event.shiftKey ? 0.1 : 0.01;
    move(point[0] + size * step[0], point[1] + size * step[1]);
  });
  view.addEventListener("focusin", (event) => {
    if (event.target.closest("button.labkit-mark")) { asked = point; ask(); }
  });
  model.on("msg:custom", (message, buffers) => {
    if (message.kind === "look") {
      look.textContent = message.text || HINT;
      waiting = false;
      ask();
    } else if (message.kind === "save") {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([buffers[0]], { type: message.type }));
      link.download = message.name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }
  });
  model.on("change:html", () => {
    draw();
    waiting = false; // a kernel that could not answer is asked again
    asked ??= point;
    ask();
  });
  model.on("change:lines", drawLines);
  model.on("change:point", () => { point = model.get("point"); place(); });
  draw();
  drawLines();
  const sizes = new ResizeObserver(fit);
  sizes.observe(root);
  window.addEventListener("resize", fit);
  return () => { clearInterval(flicker); sizes.disconnect(); window.removeEventListener("resize", fit); };
}

export default { render };
