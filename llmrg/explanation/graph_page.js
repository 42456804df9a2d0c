// Moves the row's horizon over a reasoning graph, and shows the words of the node under pointer or focus,
// or, until something else is clicked, of the node that was clicked.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("graph").textContent);
  const board = document.querySelector(".board");
  const slider = document.getElementById("row");
  const rejected = document.getElementById("rejected");
  const said = document.getElementById("said");
  const target = document.querySelector(".target");
  const details = document.getElementById("details");
  const nodes = [...document.querySelectorAll(".node")].sort((a, b) => a.dataset.n - b.dataset.n);
  const edges = [...document.querySelectorAll("path")];
  let stop = 0; // the one node that Tab reaches; arrow keys reach the others
  let kept = false; // the words shown, whatever the pointer crosses
  const touching = nodes.map(() => []);
  data.edges.forEach(([source, goal], place) => {
    touching[source].push(place);
    touching[goal].push(place);
  });
  const counted = { item: ["item", "items"], reason: ["reason", "reasons"], imagined_item: ["imagined item", "imagined items"] };

  function sees(node, row) {
    return node.position < row && (rejected.checked || !node.rejected);
  }

  function move(scroll) {
    const row = Number(slider.value);
    const count = { item: 0, reason: 0, imagined_item: 0, attribute: 0 };
    data.nodes.forEach((node, place) => {
      nodes[place].hidden = !sees(node, row);
      if (node.position < row && !node.rejected) count[node.kind] += 1;
    });
    data.edges.forEach(([source, goal], place) => {
      edges[place].toggleAttribute("hidden", nodes[source].hidden || nodes[goal].hidden);
    });
    if (nodes[stop]?.hidden) rest(nodes.findLastIndex((node) => !node.hidden));
    const x = data.left + row * data.column;
    target.style.left = x + "px";
    const sum = Object.entries(counted).map(([kind, words]) => `${count[kind]} ${words[count[kind] === 1 ? 0 : 1]}`);
    const what = row < data.items.length ? `position ${row}, “${data.items[row]}”,` : "what comes next";
    said.textContent = `A row that predicts ${what} sees ${sum.join(", ")}.`;
    slider.setAttribute("aria-valuetext", said.textContent);
    if (scroll) board.scrollLeft = x + 1.1 * data.column - board.clientWidth;
  }

  function rest(place) {
    if (place < 0) return;
    nodes[stop].tabIndex = -1;
    nodes[place].tabIndex = 0;
    stop = place;
  }

  function keep(on) {
    kept = on;
    details.classList.toggle("kept", on);
  }

  function paragraph(text, kind) {
    const made = document.createElement("p");
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  function show(place) {
    for (const marked of document.querySelectorAll(".active, .near")) marked.classList.remove("active", "near");
    nodes[place].classList.add("active");
    const node = data.nodes[place];
    const heading = document.createElement("h2");
    heading.textContent = node.words;
    const list = document.createElement("ul");
    for (const edge of touching[place]) {
      const [source, goal, out, into] = data.edges[edge];
      const other = source === place ? goal : source;
      if (nodes[other].hidden) continue;
      edges[edge].classList.add("active");
      nodes[other].classList.add("near");
      const line = document.createElement("li");
      line.textContent = `${data.relations[source === place ? out : into]}: ${data.nodes[other].words}`;
      list.append(line);
    }
    details.replaceChildren(heading, paragraph(node.facts.join(" · "), "kind"), list);
  }

  function neighbour(place, key) {
    const here = data.nodes[place];
    const across = key === "ArrowLeft" || key === "ArrowRight";
    const way = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
    let best = null, least = Infinity;
    data.nodes.forEach((node, other) => {
      if (other === place || nodes[other].hidden) return;
      const along = way * (across ? node.x - here.x : node.y - here.y);
      const aside = Math.abs(across ? node.y - here.y : node.x - here.x);
      if (along <= 0 || (across ? node.band !== here.band : aside > 1)) return;
      if (along * 1000 + aside < least) [best, least] = [other, along * 1000 + aside];
    });
    return best;
  }

  nodes.forEach((element, place) => {
    element.tabIndex = -1;
    element.addEventListener("focus", () => {
      rest(place);
      show(place);
    });
    element.addEventListener("pointerenter", () => kept || show(place));
    element.addEventListener("click", () => {
      keep(true);
      show(place);
    });
    element.addEventListener("keydown", (event) => {
      if (!event.key.startsWith("Arrow")) return;
      const next = neighbour(place, event.key);
      if (next !== null) nodes[next].focus();
      event.preventDefault();
    });
  });
  document.addEventListener("click", (event) => event.target.closest(".node, .details") || keep(false));
  document.addEventListener("keydown", (event) => event.key === "Escape" && keep(false));
  slider.addEventListener("input", () => move(true));
  rejected.addEventListener("change", () => move(false));
  for (const [id, step] of [["earlier", -1], ["later", 1]]) {
    document.getElementById(id).addEventListener("click", () => {
      slider.value = Number(slider.value) + step;
      move(true);
    });
  }
  document.querySelector(".controls").hidden = details.hidden = false;
  rest(nodes.length - 1);
  move(true);
})();
