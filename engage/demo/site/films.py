"""What is on at Streamly. All of it is made up."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Film:
    """A film or series; `slug` is also the name of its poster in demo.css."""

    slug: str
    title: str
    kind: str
    year: int
    about: str


FILMS = (
    Film(
        "tidewater", "Tidewater", "Series · 8 episodes", 2026, "A lighthouse keeper's daughter maps a coast that moves."
    ),
    Film(
        "night-tram",
        "The Night Tram",
        "Film · 1 h 52 min",
        2025,
        "Six strangers, one line, and a stop that is on no map.",
    ),
    Film(
        "salt-and-saffron",
        "Salt & Saffron",
        "Series · 10 episodes",
        2025,
        "Two rival kitchens inherit the same restaurant.",
    ),
    Film(
        "north-face",
        "North Face, Slowly",
        "Documentary · 1 h 28 min",
        2024,
        "A climb that took eleven years, and one morning.",
    ),
    Film("paper-comets", "Paper Comets", "Film · 1 h 41 min", 2026, "A school's telescope finds what nobody ordered."),
    Film("the-quiet-league", "The Quiet League", "Sports · Season 3", 2026, "Chess boxing, seen from the corner."),
    Film("greenhouse", "Greenhouse", "Series · 6 episodes", 2024, "The plants have begun to keep minutes."),
    Film(
        "harbour-lights", "Harbour Lights", "Film · 2 h 04 min", 2023, "A pilot boat, a storm, and a very late apology."
    ),
)
BY_SLUG = {film.slug: film for film in FILMS}
