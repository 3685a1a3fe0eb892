"""Tables, plots and the HTML page, made from run logs and ledgers only.

Owns how results look: the comparison of two pretraining runs (`compare`), the self-contained page
(`page`) and the same numbers as plain data (`numbers`). It never trains, infers or measures, never
fills a measured column with an estimate, and changes nothing in the directories it reads except
the files it was asked to write.
"""
