"""The sounds of speech: how each is made by the voice and what the lips do meanwhile."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phoneme:
    """One kind of sound.

    Attributes:
        formants: the first three resonances of an average man's vocal tract, Hz.
        voice: strength of the voice in [0, 1].
        noise: strength of the noise of breath in [0, 1].
        band: middle and half width of the noise, Hz.
        opening: of the lips in [0, 1]; 0 is shut.
        width: of the mouth in [-1, 1]; negative is rounded, positive spread.
        length: average duration, seconds.
        burst: the noise is that of a closure of the tongue or the lips that opens, in the last third of the sound.
    """

    formants: tuple[float, float, float]
    voice: float
    noise: float
    band: tuple[float, float]
    opening: float
    width: float
    length: float
    burst: bool = False


SILENCE = "_"
# Formants from tables of vowels and of the places that consonants are made at; lips as one sees them in a mirror: ours.
TABLE = """
     formants, Hz    voice noise  band, Hz   opening width length
_   500 1500 2500    0.00  0.00  4000 2000    0.00   0.0   0.30
a   760 1250 2500    1.00  0.00  4000 2000    1.00   0.1   0.15
e   500 1850 2550    1.00  0.00  4000 2000    0.60   0.5   0.15
i   290 2250 3000    1.00  0.00  4000 2000    0.35   1.0   0.15
o   480  880 2450    1.00  0.00  4000 2000    0.65  -0.6   0.15
u   310  750 2300    1.00  0.00  4000 2000    0.30  -1.0   0.15
@   500 1450 2500    1.00  0.00  4000 2000    0.45   0.0   0.15
m   250 1050 2200    0.35  0.00  4000 2000    0.00   0.0   0.08
b   200  800 2200    0.15  0.15   900  700    0.00   0.0   0.08 burst
p   300  850 2200    0.00  0.35  1000  900    0.00   0.0   0.09 burst
f   320 1100 2300    0.00  0.25  4500 3000    0.08   0.1   0.09
v   300 1100 2300    0.40  0.12  4500 3000    0.08   0.1   0.07
n   260 1550 2600    0.40  0.00  4000 2000    0.25   0.15  0.07
l   360 1200 2800    0.60  0.00  4000 2000    0.35   0.1   0.07
r   400 1200 1600    0.60  0.00  4000 2000    0.25  -0.4   0.07
w   300  650 2200    0.60  0.00  4000 2000    0.15  -1.0   0.07
j   280 2200 3000    0.60  0.00  4000 2000    0.25   0.8   0.06
s   320 1700 2600    0.00  0.50  6000 1200    0.15   0.5   0.10
z   320 1700 2600    0.35  0.30  6000 1200    0.15   0.5   0.08
S   320 1700 2300    0.00  0.50  3200  900    0.20  -0.6   0.10
d   280 1750 2700    0.15  0.20  4500 1500    0.20   0.2   0.06 burst
t   300 1750 2700    0.00  0.45  4800 1500    0.20   0.2   0.08 burst
g   280 2000 2400    0.15  0.20  2300  700    0.30   0.1   0.06 burst
k   300 2000 2400    0.00  0.40  2400  800    0.30   0.1   0.08 burst
h   550 1500 2500    0.00  0.25  2000 1800    0.45   0.0   0.06
"""


def _phoneme(values: list[str]) -> Phoneme:
    numbers = [float(value) for value in values[:10]]
    return Phoneme(
        formants=(numbers[0], numbers[1], numbers[2]),
        voice=numbers[3],
        noise=numbers[4],
        band=(numbers[5], numbers[6]),
        opening=numbers[7],
        width=numbers[8],
        length=numbers[9],
        burst=values[10:] == ["burst"],
    )


PHONEMES = {name: _phoneme(values) for name, *values in map(str.split, TABLE.strip().splitlines()[1:])}
VOWELS = ("a", "e", "i", "o", "u", "@")
CONSONANTS = tuple(name for name in PHONEMES if name not in (SILENCE, *VOWELS))
CLOSED = tuple(name for name, sound in PHONEMES.items() if sound.opening == 0)


@dataclass(frozen=True)
class Spoken:
    """A sound at its place in a recording.

    Attributes:
        name: key of ``PHONEMES``.
        start: seconds from the start of the recording.
        end: seconds.
    """

    name: str
    start: float
    end: float
