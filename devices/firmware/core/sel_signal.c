#include "sel_signal.h"

#include "sel_bytes.h"

#define MOST_DISTANCE 4095
#define LN2 68139u

/* round(65536 exp(-j / 6)) - 1: 64 steps of 1/256 nat, at temperature 1.5. */
static const uint16_t coarse[64] = {
    65535, 55474, 46958, 39749, 33646, 28481, 24108, 20407, 17274, 14622, 12377, 10477, 8868, 7507,
    6354, 5379, 4553, 3854, 3262, 2761, 2337, 1978, 1674, 1417, 1199, 1015, 859, 727, 615, 521, 441,
    373, 315, 267, 226, 191, 161, 137, 115, 98, 82, 70, 59, 50, 42, 35, 30, 25, 21, 18, 15, 12, 10,
    9, 7, 6, 5, 4, 3, 3, 2, 2, 1, 1,
};

/* round(65536 exp(-j / 384)) - 1: one step. */
static const uint16_t fine[64] = {
    65535, 65365, 65195, 65025, 64856, 64687, 64519, 64351, 64184, 64017, 63850, 63684, 63519,
    63353, 63189, 63024, 62860, 62697, 62534, 62371, 62209, 62047, 61886, 61725, 61564, 61404,
    61245, 61085, 60926, 60768, 60610, 60452, 60295, 60138, 59982, 59826, 59670, 59515, 59360,
    59206, 59052, 58898, 58745, 58592, 58440, 58288, 58136, 57985, 57834, 57684, 57534, 57384,
    57235, 57086, 56938, 56790, 56642, 56495, 56348, 56201, 56055, 55909, 55764, 55619,
};

/* round(98304 ln(1 + j / 64)) - 1024 j: what is above the straight line. */
static const uint16_t logarithms[65] = {
    0, 500, 977, 1431, 1864, 2275, 2665, 3036, 3387, 3718, 4032, 4328, 4606, 4867, 5111, 5339, 5552,
    5749, 5931, 6099, 6252, 6392, 6517, 6630, 6729, 6816, 6890, 6953, 7003, 7042, 7069, 7085, 7091,
    7086, 7070, 7044, 7008, 6962, 6906, 6842, 6767, 6684, 6592, 6491, 6381, 6263, 6137, 6003, 5860,
    5710, 5552, 5387, 5214, 5034, 4847, 4652, 4451, 4243, 4028, 3806, 3578, 3344, 3103, 2856, 2603,
};

uint16_t sel_greatest(const int16_t *logits, uint16_t classes)
{
    uint16_t i, best = 0;

    for (i = 1; i < classes; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

/* 98304 ln(value / 65536); value: 65536 or more, below 2^25. */
static uint32_t logarithm(uint32_t value)
{
    uint32_t whole = 0, fraction, j;
    int32_t rise;

    for (; value >> 17; value >>= 1)
        whole += LN2;
    fraction = value - 65536u;
    j = fraction >> 10;
    rise = ((int32_t)logarithms[j + 1] - logarithms[j]) * (int32_t)(fraction & 1023u) >> 10;
    return whole + fraction + logarithms[j] + (uint32_t)rise;
}

/* floor(256 a / b), below 2^20, bit by bit: the compiler's 64-bit division takes more than a kilobyte. */
static uint32_t quotient(uint64_t a, uint32_t b)
{
    uint64_t limit = (uint64_t)b << 12;
    uint32_t result = 0, i;

    for (i = 0; i < 20; i++) {
        a <<= 1;
        result <<= 1;
        if (a >= limit) {
            a -= limit;
            result++;
        }
    }
    return result;
}

uint16_t sel_uncertainty(const int16_t *logits, uint16_t classes, uint32_t inverse)
{
    int32_t top = logits[sel_greatest(logits, classes)];
    uint32_t sum = 0;
    uint64_t weighted = 0, entropy;
    uint16_t i;

    for (i = 0; i < classes; i++) {
        uint32_t distance = (uint32_t)(top - logits[i]);
        uint32_t share;

        if (distance > MOST_DISTANCE)
            continue;
        share = (uint32_t)((coarse[distance >> 6] + UINT64_C(1)) * (fine[distance & 63] + 1u) >> 16);
        sum += share;
        weighted += share * distance;
    }
    entropy = ((uint64_t)(quotient(weighted, sum) + logarithm(sum)) * inverse) >> 16;
    return (uint16_t)(entropy > UINT16_MAX ? UINT16_MAX : entropy);
}

uint16_t sel_embarrassment(const uint8_t *standin, uint16_t uncertainty)
{
    uint32_t left = sel_get16(standin + 4);
    const uint16_t *at = (const uint16_t *)(const void *)(standin + 8), *nats = at + left;

    while (--left && at[1] <= uncertainty) {
        at++;
        nats++;
    }
    if (!left || uncertainty < at[0])
        return nats[0];
    return (uint16_t)(nats[0] + (uint32_t)(nats[1] - nats[0]) * (uint32_t)(uncertainty - at[0]) /
                                    (uint32_t)(at[1] - at[0]));
}
