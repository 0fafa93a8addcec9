// What can be pressed, and which page it is.

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  let done = true;
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    // Without TLS a browser gives the clipboard only to a selection.
    getSelection().selectAllChildren(code);
    done = document.execCommand("copy");
  }
  say(done ? "Copied." : "Not copied: the commands are selected, copy them by hand.");
  button.classList.add(done ? "done" : "failed");
  setTimeout(() => button.classList.remove("done", "failed"), 2000);
}

async function stack(tid) {
  if (app.stacks.delete(tid)) return render();
  app.stacks.set(tid, "Reading.");
  render();
  try {
    const { stack } = await ask(`/api/v1/tasks/${tid}`);
    app.stacks.set(tid, stack?.length > 0 ? stack.map((one) => clip(one, 200)).join("\n") : "No stack was read: that happens while a loop is suspected, or worse.");
  } catch {
    app.stacks.set(tid, "It is gone, or cannot be asked for.");
  }
  render();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-does]");
  const does = button?.dataset.does;
  if (does === "copy") copy(button);
  if (does === "stack") stack(Number(button.dataset.tid));
  if (does === "more") {
    app.allTasks = !app.allTasks;
    render();
  }
});

const { view: page, id } = document.body.dataset;
if (page === "node") live();
if (page === "verdict") verdict(id);
