// Package mqtt is the MQTT face of IoTDA: it judges what concerns MQTT alone (keep alive, QoS, the number
// of subscriptions) and hands the rest to the core ("Device Connection Authentication", iot_06_v5_3009;
// "Limitations", iot_04_0010).
package mqtt
