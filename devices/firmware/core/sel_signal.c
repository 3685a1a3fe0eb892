#include "sel_signal.h"

#include "sel_bytes.h"

#define MOST_DISTANCE 4095
#define LN2 68139u

/* round(65536 exp(-j / 6)): 64 steps of 1/256 nat, at temperature 1.5. */
static const uint32_t coarse[64] = {
    65536, 55475, 46959, 39750, 33647, 28482, 24109, 20408, 17275, 14623, 12378,
    10478, 8869, 7508, 6355, 5380, 4554, 3855, 3263, 2762, 2338, 1979,
    1675, 1418, 1200, 1016, 860, 728, 616, 522, 442, 374, 316,
    268, 227, 192, 162, 138, 116, 99, 83, 71, 60, 51,
    43, 36, 31, 26, 22, 19, 16, 13, 11, 10, 8,
    7, 6, 5, 4, 4, 3, 3, 2, 2,
};

/* round(65536 exp(-j / 384)): one step. */
static const uint32_t fine[64] = {
    65536, 65366, 65196, 65026, 64857, 64688, 64520, 64352, 64185, 64018, 63851,
    63685, 63520, 63354, 63190, 63025, 62861, 62698, 62535, 62372, 62210, 62048,
    61887, 61726, 61565, 61405, 61246, 61086, 60927, 60769, 60611, 60453, 60296,
    60139, 59983, 59827, 59671, 59516, 59361, 59207, 59053, 58899, 58746, 58593,
    58441, 58289, 58137, 57986, 57835, 57685, 57535, 57385, 57236, 57087, 56939,
    56791, 56643, 56496, 56349, 56202, 56056, 55910, 55765, 55620,
};

/* round(98304 ln(1 + j / 64)). */
static const uint32_t logarithms[65] = {
    0, 1524, 3025, 4503, 5960, 7395, 8809, 10204, 11579, 12934, 14272,
    15592, 16894, 18179, 19447, 20699, 21936, 23157, 24363, 25555, 26732, 27896,
    29045, 30182, 31305, 32416, 33514, 34601, 35675, 36738, 37789, 38829, 39859,
    40878, 41886, 42884, 43872, 44850, 45818, 46778, 47727, 48668, 49600, 50523,
    51437, 52343, 53241, 54131, 55012, 55886, 56752, 57611, 58462, 59306, 60143,
    60972, 61795, 62611, 63420, 64222, 65018, 65808, 66591, 67368, 68139,
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
    uint32_t exponent = 0, fraction, j, low;

    while (value >> (exponent + 17))
        exponent++;
    fraction = (value >> exponent) - 65536u;
    j = fraction >> 10;
    low = logarithms[j];
    return exponent * LN2 + low + (((logarithms[j + 1] - low) * (fraction & 1023u)) >> 10);
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
        share = (uint32_t)(((uint64_t)coarse[distance >> 6] * fine[distance & 63]) >> 16);
        sum += share;
        weighted += (uint64_t)share * distance;
    }
    entropy = weighted * 256 / sum + logarithm(sum);
    entropy = (entropy * inverse) >> 16;
    return (uint16_t)(entropy > UINT16_MAX ? UINT16_MAX : entropy);
}

uint16_t sel_embarrassment(const uint8_t *standin, uint16_t uncertainty)
{
    uint32_t knots = sel_get16(standin + 4);
    const uint8_t *at = standin + 8, *nats = at + 2 * knots;
    uint32_t i = 0, before, after, low, high;

    while (i < knots && sel_get16(at + 2 * i) <= uncertainty)
        i++;
    if (i == 0)
        return sel_get16(nats);
    if (i == knots)
        return sel_get16(nats + 2 * (knots - 1));
    before = sel_get16(at + 2 * (i - 1));
    after = sel_get16(at + 2 * i);
    low = sel_get16(nats + 2 * (i - 1));
    high = sel_get16(nats + 2 * i);
    return (uint16_t)(low + (high - low) * (uncertainty - before) / (after - before));
}
