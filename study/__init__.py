"""The paper's study: many runs, on one machine or several, and what their scores say together."""
