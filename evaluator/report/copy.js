// A button copies the part of the page that it names, a line a row.
for (const button of document.querySelectorAll("button[data-copies]")) {
  const part = document.getElementById(button.dataset.copies);
  const told = button.nextElementSibling;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const rows = [...part.querySelectorAll("caption, tr, pre")].map((row) =>
      row.cells ? [...row.cells].map((cell) => cell.textContent).join(": ") : row.textContent,
    );
    try {
      await navigator.clipboard.writeText(rows.join("\n"));
      told.textContent = "Copied.";
    } catch {
      // The browser may not let a file have the clipboard.
      part.closest("details").open = true;
      getSelection().selectAllChildren(part);
      told.textContent = "Selected: copy it by the keyboard.";
    }
  });
}
