"""Speech of real words, a function of (seed, index): sentences without meaning, said by espeak-ng."""

import numpy as np

from datamodules.procedural.scenes.scenes import generator
from datamodules.procedural.speech.articulation import FRAME_RATE, mouth_shapes
from datamodules.procedural.speech.espeak import EspeakVoice, sample_espeak_voice, say
from datamodules.procedural.speech.phonemes import SILENCE, Spoken
from datamodules.procedural.speech.speech import PAUSES, SOUND, VOICE, WORDS, Speech
from datamodules.procedural.speech.synthesis import ROOM, SAMPLE_RATE

VOCABULARY = """
about above after again always animal apple arrive autumn away baby balloon bamboo banana basket beautiful because
become before begin behind below between big blue boat body book both bottle bowl bread bring brother brown build
butter butterfly by call camera carry chair change cheap child city clear climb close cloud coffee cold come cook
copper corner cover crowd dance deep dinner doctor door dream drive early earth east easy empty enough evening every
family far farm fast father few field find finger fire first fish five floor flower follow food foot forest form forty
forward friend from full game garden give glass go gold good green group grow half hammer happy harbour have heavy
help high hill home hope horse house hundred hungry image inside island join jump keep kitchen know lady lamp large
late laugh leaf learn leave letter light listen little live long look lovely lucky machine make many map market maybe
meadow memory middle milk minute mirror money moon more morning mother mountain mouth move much museum music must name
narrow near never new night nobody noon north notebook number ocean often old open orange other outside over own page
paint pair paper parent park people pepper perhaps piano picture pilot place plain planet play poem pool possible
potato power pretty prove pull purple push put queen quiet rabbit rain rainbow reach ready remember ribbon river road
robin room round rubber run sail same sand save school season seven shadow shape ship shoe shop short silver simple
sister sleep slow small smooth snow soap soft some soon spoon spring square station stone story street strong summer
sun supper sweet swim table take tall teacher temple ten thank theatre thing thousand through time today together
tomato town tree trip true tulip umbrella uncle under until upon valley vary very village violet visit voice wait walk
wall warm wash watch water wave we week welcome west wheel where whisper white wide window winter woman wonder wood
world yellow yes young zebra zoo
""".split()  # noqa: SIM905 - a list of a word a line is no list to read
SENTENCE = (2, 6)  # words, at least and below
LASTING = 1.4  # seconds of a sentence on average, about; from which the pauses are measured


def speak_words(
    seed: int, index: int, seconds: float, voice: EspeakVoice | None = None, pauses: float = PAUSES
) -> Speech:
    """Say something in English: real words in sentences without meaning, with pauses between them.

    Args:
        seed: of the world.
        index: of the recording; any non-negative integer.
        seconds: of the recording, rounded to whole frames.
        voice: of the speaker, instead of that of (seed, index).
        pauses: share of the time in which nobody speaks, on average, below 1.

    Raises:
        UserError: espeak-ng is not installed.
    """
    frames = round(seconds * FRAME_RATE)
    voice = voice or sample_espeak_voice(generator(seed, index, VOICE))
    rng = generator(seed, index, WORDS)
    samples = frames * SAMPLE_RATE // FRAME_RATE
    sound, spoken = np.zeros(samples, np.float32), [Spoken(SILENCE, 0.0, 0.0)]
    pause = LASTING * pauses / (1 - pauses)
    at = round(pause * rng.uniform(0, 1) * SAMPLE_RATE)
    while at < samples:
        sentence = " ".join(rng.choice(VOCABULARY, rng.integers(*SENTENCE), replace=False))
        said, sounds = say(sentence, voice)
        sound[at : at + len(said)] = said[: samples - at]
        begin = at / SAMPLE_RATE
        spoken.append(Spoken(SILENCE, spoken[-1].end, begin))
        spoken += [Spoken(each.name, begin + each.start, begin + each.end) for each in sounds]
        at += len(said) + round(pause * rng.uniform(0.4, 1.6) * SAMPLE_RATE)
    length = frames / FRAME_RATE
    spoken.append(Spoken(SILENCE, spoken[-1].end, max(length, spoken[-1].end)))
    kept = [Spoken(each.name, each.start, min(each.end, length)) for each in spoken if each.start < length]
    kept = [each for each in kept if each.end > each.start]
    sound += ROOM * generator(seed, index, SOUND).standard_normal(samples, np.float32)
    opening, width = mouth_shapes(kept, frames)
    return Speech(sound.clip(-1, 1), opening, width, spoken=kept)
