// One of several pictures by its number; a player and a slider change the number in the page.
function render({ model, el }) {
  const figure = document.createElement("figure"), image = new Image();
  const caption = document.createElement("figcaption");
  figure.className = "labkit-film";
  image.alt = ""; // until there is a picture
  figure.append(image, caption);
  el.append(figure);
  let addresses = [];
  function load() {
    addresses.forEach(URL.revokeObjectURL);
    addresses = model.get("frames").map((one) => URL.createObjectURL(new Blob([one], { type: "image/png" })));
    show();
  }
  function show() {
    const number = model.get("index");
    if (!addresses[number]) return;
    image.src = addresses[number];
    image.alt = caption.textContent = model.get("captions")[number];
  }
  model.on("change:frames", load);
  model.on("change:index", show);
  load();
  return () => addresses.forEach(URL.revokeObjectURL);
}

export default { render };
