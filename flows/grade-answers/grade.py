from promptflow.core import tool


@tool
def grade(answer: str, expected: str) -> str:
    """Right if the expected words all occur in the answer, in any case."""
    said = answer.casefold().split()
    return "right" if all(word in said for word in expected.casefold().split()) else "wrong"
